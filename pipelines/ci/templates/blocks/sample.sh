penstock run @PROJECT@ --comment gate.md \
  --set "source.uri=$PENSTOCK_SAMPLE" --set "source.query=''" \
  --set "tracking_uri=''" --set "notify={}" --set gate.approval.people=0 \
  --set deployment.router=local --set deployment.port=0
