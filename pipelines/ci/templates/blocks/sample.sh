# A registry and a webhook that the CI system knows are not for a sample.
export MLFLOW_TRACKING_URI='' PENSTOCK_WEBHOOK=''
# Of an earlier build, where the system keeps its folder.
rm -f gate.md
penstock run @PROJECT@ --comment gate.md \
  --set "source.uri=$PENSTOCK_SAMPLE" --set "source.query=''" \
  --set "tracking_uri=''" --set "notify={}" --set gate.approval.people=0 \
  --set deployment.router=local --set deployment.port=0
