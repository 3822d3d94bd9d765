penstock schedule sync @PROJECT@ \
  --namespace "$KUBEFLOW_NAMESPACE" --parameter tracking_uri="$MLFLOW_TRACKING_URI"
