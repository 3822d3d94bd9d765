# Of an earlier build, where the system keeps its folder.
rm -rf evidence
penstock submit @PROJECT@ --wait --once --run-name "$RUN_NAME" --timeout 5h \
  --namespace "$KUBEFLOW_NAMESPACE" --parameter tracking_uri="$MLFLOW_TRACKING_URI" \
  --summary evidence/summary.json
