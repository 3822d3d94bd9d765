#!/usr/bin/env bash
# Put a table where the steps of a cluster's pipelines reach it, to try things out, and print its address:
#   scripts/cluster_table.sh CONTEXT FILE [NAME]
# At most 1 MB: it lies in a ConfigMap, and a pod of the image penstock/data hands it out. To take it away:
#   kubectl --context CONTEXT delete pod,service,configmap NAME -n kubeflow
set -euo pipefail
cd "$(dirname "$0")/.."
context=${1:?usage: $0 CONTEXT FILE [NAME]}
file=${2:?usage: $0 CONTEXT FILE [NAME]}
name=${3:-penstock-table}
namespace=${PENSTOCK_CLUSTER_PIPELINES:-kubeflow}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
image=${PENSTOCK_CLUSTER_DATA_IMAGE:-penstock/data:$version}

kube() { kubectl --context "$context" --namespace "$namespace" "$@"; }

[ "$(wc -c <"$file")" -le 1000000 ] || { echo "error: $file is larger than 1 MB: give the cluster an object store" >&2; exit 1; }
kube delete pod,configmap "$name" --ignore-not-found >&2
kube create configmap "$name" --from-file="$file" >&2
kube label configmap "$name" "penstock/table=$name" >&2
kube apply -f - >&2 <<OBJECTS
apiVersion: v1
kind: Service
metadata:
  name: $name
  labels: {penstock/table: $name}
spec:
  selector: {penstock/table: $name}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata:
  name: $name
  labels: {penstock/table: $name}
spec:
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: table
      image: $image
      command: [python, -m, http.server, "8080", --directory, /table]
      readinessProbe: {tcpSocket: {port: 8080}}
      resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 128Mi}}
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: table, mountPath: /table}]
  volumes: [{name: table, configMap: {name: $name}}]
OBJECTS
kube wait --for=condition=Ready "pod/$name" --timeout=120s >&2
url=http://$name.$namespace/$(basename "$file")
# A node learns of a new Service a little later than of its pod.
kube exec --stdin "$name" -- python - "$url" "$(wc -c <"$file")" >&2 <<'ASK'
import sys, time, urllib.request
for attempt in range(60):
    try:
        if len(urllib.request.urlopen(sys.argv[1], timeout=10).read()) == int(sys.argv[2]):
            sys.exit(0)
    except OSError as error:
        print(error)
    time.sleep(1)
sys.exit("the table does not come from its address")
ASK
echo "$url"
