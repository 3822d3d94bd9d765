penstock compile @PROJECT@ -o evidence/release.yaml
penstock verify @PROJECT@ --tracking-uri "$MLFLOW_TRACKING_URI" --json > evidence/verified.json
penstock passport @PROJECT@ --tracking-uri "$MLFLOW_TRACKING_URI" -o evidence/passport
