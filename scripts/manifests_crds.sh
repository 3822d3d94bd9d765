#!/usr/bin/env bash
# Fetch the definitions of the custom resources that manifests/ holds, at the versions of versions.env,
# from the Go modules that publish them (Go checks their sums). KServe's are in its Python client.
#   scripts/manifests_crds.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=manifests/versions.env
. manifests/versions.env
folder=${1:?usage: $0 FOLDER}

if ! command -v go >/dev/null; then
  echo "Go is not here, so Gateway, EnvoyProxy, SecurityPolicy, Certificate, PodMonitor and PrometheusRule have no schema to be checked against." >&2
  exit 0
fi

# Print the folder of a module at a version.
module() {
  (cd / && go mod download -json "$1@v$2") | sed -n 's/^[[:space:]]*"Dir": "\(.*\)".*/\1/p'
}

partial=$(mktemp -d)
trap 'rm -rf "$partial"' EXIT
gateway=$(module sigs.k8s.io/gateway-api "$GATEWAY_API_VERSION")
cp "$gateway"/config/crd/standard/gateway.networking.k8s.io_{gateways,gatewayclasses,httproutes}.yaml "$partial"
prometheus=$(module github.com/prometheus-operator/prometheus-operator "$PROMETHEUS_OPERATOR_VERSION")
cp "$prometheus"/example/prometheus-operator-crd/monitoring.coreos.com_{podmonitors,prometheusrules}.yaml "$partial"
envoy=$(module github.com/envoyproxy/gateway "$ENVOY_GATEWAY_VERSION")
# Charts' templates: without their `if`, they are the definitions.
for kind in envoyproxies securitypolicies; do
  sed '/^{{/d' "$envoy/charts/gateway-crds-helm/templates/generated/gateway.envoyproxy.io_$kind.yaml" \
    >"$partial/gateway.envoyproxy.io_$kind.yaml"
done
certificates=$(module github.com/cert-manager/cert-manager "$CERT_MANAGER_VERSION")
cp "$certificates/deploy/crds/cert-manager.io_certificates.yaml" "$partial"
# Dask's operator brings its definition in its Python package, in its chart.
if python=$(command -v .venv/bin/python || command -v python3) &&
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$partial" "dask-kubernetes==$DASK_OPERATOR_VERSION"; then
  "$python" -m zipfile -e "$partial"/dask_kubernetes-*.whl "$partial/dask"
  cp "$partial/dask/dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/crds/daskcluster.yaml" \
    "$partial/kubernetes.dask.org_daskclusters.yaml"
else
  echo "dask-kubernetes could not be fetched, so DaskCluster has no schema to be checked against." >&2
fi
chmod -R u+w "$partial"
mkdir -p "$folder"
mv "$partial"/*.yaml "$folder"
echo "definitions: $(find "$folder" -name '*.yaml' | wc -l) in $folder"
