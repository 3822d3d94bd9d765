penstock monitor @PROJECT@ --once --set "tracking_uri=$MLFLOW_TRACKING_URI"
