#!/usr/bin/env bash
# Make a cluster on this machine that pipelines and models run on, or take it away:
#   scripts/cluster.sh up kind|minikube
#   scripts/cluster.sh down kind|minikube
#   scripts/cluster.sh diagnose kind|minikube
# What is there already is left alone, so a run that failed is mended and run again. Every kubectl names
# the context: the current one is never used. CLUSTER_NAME (penstock) names the cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=manifests/versions.env
. manifests/versions.env
. scripts/cluster_diagnosis.sh

NAME=${CLUSTER_NAME:-penstock}
FILES=${CLUSTER_FILES:-build/cluster} # downloads
PATIENCE=${CLUSTER_PATIENCE:-600}     # seconds that a step's pods may take
PAUSE=${CLUSTER_PAUSE:-10}            # seconds between attempts
ARTIFACTS=/data/penstock-artifacts    # minikube keeps /data when it is stopped
KFP_SOURCE=${KFP_SOURCE:-github.com/kubeflow/pipelines} # or a folder that holds a checkout of it

kube() { kubectl --context "$CONTEXT" "$@"; }

say() { printf '\n== %s\n' "$*"; }

# What is said in full here needs no look at the cluster: `step` knows it by the code.
TOLD=3
fail() { # what, what to do
  printf '\nerror: %s\n  %s\n' "$1" "$2" >&2
  exit "$TOLD"
}

# -- the cluster itself ------------------------------------------------------------------------------

need() {
  command -v "$1" >/dev/null || fail "$1 is not here" "Install it; docs/cluster.md lists what cluster-up needs."
}

exists() {
  case $CLUSTER in
    # Not -q: it ends at the first match, and kind, still writing, would count as failed.
    kind) kind get clusters 2>/dev/null | grep -x "$NAME" >/dev/null ;;
    minikube) minikube status -p "$NAME" >/dev/null 2>&1 ;;
  esac
}

create() {
  if exists; then
    echo "$CLUSTER cluster $NAME is there"
    return
  fi
  case $CLUSTER in
    kind) kind create cluster --name "$NAME" --image "$KIND_NODE_IMAGE" --config manifests/overlays/kind/cluster.yaml --wait 5m ;;
    # Its default network ignores NetworkPolicies; Calico keeps them.
    minikube) minikube start -p "$NAME" --kubernetes-version="v$KUBERNETES_VERSION" --cni=calico --cpus=4 --memory=10g --wait=all ;;
  esac
}

# A context can outlive its cluster and its name be given to another one: compare the servers.
same_cluster() {
  local wanted found
  case $CLUSTER in
    kind) wanted=$(kind get kubeconfig --name "$NAME" | sed -n 's/^ *server: //p') ;;
    minikube)
      [ "$(minikube status -p "$NAME" --format '{{.Kubeconfig}}' 2>/dev/null)" = Configured ] ||
        fail "kubeconfig's context $CONTEXT is not minikube's cluster $NAME" "Run: minikube update-context -p $NAME"
      return
      ;;
  esac
  found=$(kubectl config view --minify --context "$CONTEXT" -o 'jsonpath={.clusters[0].cluster.server}') || found=
  [ -n "$wanted" ] && [ "$wanted" = "$found" ] ||
    fail "context $CONTEXT leads to '$found', but $CLUSTER's cluster $NAME is at '$wanted'" \
      "Nothing was touched. Run: kind export kubeconfig --name $NAME"
}

# -- what is installed into it -----------------------------------------------------------------------

sha256() {
  if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

# Print the path of a downloaded file; refuse one that is not what versions.env pins.
fetched() { # name, url, digest or nothing
  local path=$FILES/$1.yaml got
  if [ ! -s "$path" ]; then
    mkdir -p "$FILES"
    curl --fail --silent --show-error --location --retry 3 --output "$path.part" "$2" ||
      fail "$2 could not be downloaded" "Without a network, put the file at $path yourself."
    mv "$path.part" "$path"
  fi
  got=$(sha256 "$path")
  if [ -z "$3" ]; then
    echo "note: $1 is not pinned by digest; this one is sha256 $got. Put it into manifests/versions.env." >&2
  elif [ "$3" != "$got" ]; then
    fail "$path has sha256 $got, and versions.env says $3" "Delete the file and try again; if it stays, trust neither."
  fi
  echo "$path"
}

# Two attempts fail in the ordinary course: definitions and webhooks that the same file brings need a moment.
apply() {
  local attempt
  for attempt in 1 2 3 4 5 6; do
    kube apply --server-side --force-conflicts "$@" && return
    echo "attempt $attempt of 6 failed" >&2
    sleep "$PAUSE"
  done
  return 1
}

available() { # namespace, deployments or none for all
  local namespace=$1
  shift
  [ $# -gt 0 ] || set -- --all
  kube wait --namespace "$namespace" --for=condition=Available deployment "$@" --timeout="${PATIENCE}s"
}

namespace() { kube create namespace "$1" --dry-run=client -o yaml | kube apply -f - ; }

# What a namespace was installed from, so that a second run does not undo what came after.
installed() { # namespace, mark
  [ "$(kube get namespace "$1" -o 'jsonpath={.metadata.annotations.penstock/installed}' 2>/dev/null)" = "$2" ]
}

mark() { kube annotate namespace "$1" "penstock/installed=$2" --overwrite; }

install() { # namespace, file
  local digest
  digest=$(sha256 "$2")
  if installed "$1" "$digest"; then
    echo "installed already"
    return
  fi
  namespace "$1"
  apply -f "$2"
}

cert_manager() {
  local file
  file=$(fetched "cert-manager-$CERT_MANAGER_VERSION" "$CERT_MANAGER_URL" "$CERT_MANAGER_SHA256")
  install cert-manager "$file"
  available cert-manager
  mark cert-manager "$(sha256 "$file")"
}

envoy_gateway() {
  local file
  file=$(fetched "envoy-gateway-$ENVOY_GATEWAY_VERSION" "$ENVOY_GATEWAY_URL" "$ENVOY_GATEWAY_SHA256")
  install envoy-gateway-system "$file"
  kube wait --for=condition=Established crd/gateways.gateway.networking.k8s.io crd/httproutes.gateway.networking.k8s.io --timeout=60s
  available envoy-gateway-system envoy-gateway
  mark envoy-gateway-system "$(sha256 "$file")"
}

kserve() {
  local file
  file=$(fetched "kserve-$KSERVE_VERSION" "$KSERVE_URL" "$KSERVE_SHA256")
  install kserve "$file"
  configure_kserve
  available kserve kserve-controller-manager
  mark kserve "$(sha256 "$file")"
}

# Standard mode, the Gateway API, and a storage-initializer that Pod Security `restricted` admits.
configure_kserve() {
  local said
  kube patch clusterstoragecontainer default --type merge --patch-file manifests/kserve/storage-initializer.yaml
  said=$(kube patch configmap inferenceservice-config --namespace kserve --type merge --patch-file manifests/kserve/inferenceservice-config.yaml)
  echo "$said"
  case $said in
    *"no change"*) ;;
    # The controller decides once, at its start, whether to watch HTTPRoutes.
    *) kube rollout restart deployment/kserve-controller-manager --namespace kserve ;;
  esac
  kube rollout status deployment/kserve-controller-manager --namespace kserve --timeout="${PATIENCE}s"
}

kfp() { # part
  if [ -d "$KFP_SOURCE" ]; then
    echo "$KFP_SOURCE/manifests/kustomize/$1"
  else
    # A large repository: kustomize gives git 27 seconds if nothing is said.
    echo "$KFP_SOURCE/manifests/kustomize/$1?ref=$KFP_COMMIT&timeout=300s"
  fi
}

pipelines() {
  if ! installed kubeflow "$KFP_COMMIT"; then
    apply -k "$(kfp cluster-scoped-resources)"
    kube wait --for=condition=Established crd/applications.app.k8s.io --timeout=60s
    apply -k "$(kfp env/platform-agnostic)"
    kube patch deployment ml-pipeline --namespace kubeflow --patch-file manifests/kubeflow/allowed-accounts.yaml
  fi
  available kubeflow
  mark kubeflow "$KFP_COMMIT"
}

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# Make a Secret of key=value lines from standard input, unless it is there: its values stay out of
# command lines, and a second run does not change a password that a database already holds.
secret() { # namespace, name
  if kube get secret "$2" --namespace "$1" >/dev/null 2>&1; then
    cat >/dev/null
    echo "secret $1/$2 is there"
  else
    kube create secret generic "$2" --namespace "$1" --from-env-file=/dev/stdin
  fi
}

secrets() {
  kube apply -f manifests/base/namespace.yaml
  printf 'username=admin\npassword=%s\nflask-secret-key=%s\n' "$(random)" "$(random)" | secret penstock-mlflow mlflow-admin
  printf 'MLFLOW_TRACKING_USERNAME=penstock\nMLFLOW_TRACKING_PASSWORD=%s\n' "$(random)" | secret kubeflow penstock-mlflow
}

# What the overlay runs, and what the steps of a pipeline run.
references() {
  local manifests version
  manifests=$(kubectl kustomize "manifests/overlays/$CLUSTER") || return
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
  { sed -n 's/^ *image: //p' <<<"$manifests"; printf "penstock/%s:$version\n" data train deploy; } | sort -u
}

# From the local engine onto the cluster's node, all at once, for they share layers: nothing can pull them.
images() {
  local image images
  images=$(references)
  for image in $images; do
    docker image inspect "$image" >/dev/null 2>&1 || fail "image $image is not on this machine" "Run: make images"
  done
  # shellcheck disable=SC2086 # one word each
  case $CLUSTER in
    kind) kind load docker-image $images --name "$NAME" ;;
    minikube) for image in $images; do minikube image load "$image" -p "$NAME"; done ;;
  esac
}

# The folder of the node that MLflow's artifacts lie in (components/mlflow-local).
artifacts() {
  case $CLUSTER in
    kind) docker exec "$NAME-control-plane" mkdir -p "$ARTIFACTS" </dev/null ;;
    minikube) minikube ssh -p "$NAME" -- sudo mkdir -p "$ARTIFACTS" </dev/null ;;
  esac
}

penstock() {
  artifacts
  apply -k "manifests/overlays/$CLUSTER"
  available penstock-mlflow mlflow
  kube wait --namespace penstock --for=condition=Programmed gateway/penstock --timeout="${PATIENCE}s"
}

decoded() { kube get secret "$2" --namespace "$1" -o "jsonpath={.data.$3}" | base64 -d; }

# Pipelines log as a user of their own, not as the administrator.
mlflow_user() {
  { decoded kubeflow penstock-mlflow MLFLOW_TRACKING_USERNAME; echo
    decoded kubeflow penstock-mlflow MLFLOW_TRACKING_PASSWORD; echo
  } | kube exec --stdin --namespace penstock-mlflow deployment/mlflow -- python -c "$(cat scripts/mlflow_user.py)"
}

# -- up and down -------------------------------------------------------------------------------------

# Run a step; when it fails, say what is not ready in its namespace, and why.
step() { # title, namespace, function
  say "$1"
  # A function in a condition would run on after a failing line: give it a shell of its own.
  set +e
  (set -e; "$3")
  local code=$?
  set -e
  case $code in
    0) ;;
    "$TOLD") exit "$TOLD" ;;
    *) diagnose "$1" "$2"; exit 1 ;;
  esac
}

up() {
  need kubectl; need "$CLUSTER"; need docker; need curl; need git
  step "$CLUSTER cluster $NAME, Kubernetes $KUBERNETES_VERSION" kube-system create
  same_cluster
  step "cert-manager $CERT_MANAGER_VERSION" cert-manager cert_manager
  step "Envoy Gateway $ENVOY_GATEWAY_VERSION with Gateway API $GATEWAY_API_VERSION" envoy-gateway-system envoy_gateway
  step "KServe $KSERVE_VERSION in Standard mode" kserve kserve
  step "Kubeflow Pipelines $KFP_VERSION" kubeflow pipelines
  step "Secrets" penstock-mlflow secrets
  step "Penstock's images" penstock images
  step "Penstock: MLflow $MLFLOW_VERSION, serving runtime, gateway" penstock-mlflow penstock
  step "MLflow's user for pipelines" penstock-mlflow mlflow_user
  say "ready: kubectl --context $CONTEXT get pods -A"
  echo "Next: docs/cluster.md. To take it all away: make cluster-down CLUSTER=$CLUSTER"
}

down() {
  need "$CLUSTER"
  if ! exists; then
    echo "no $CLUSTER cluster $NAME is there"
    return
  fi
  case $CLUSTER in
    kind) kind delete cluster --name "$NAME" ;;
    minikube) minikube delete -p "$NAME" ;;
  esac
}

# What is not ready anywhere, for whoever was not looking.
diagnosis() {
  need kubectl; need "$CLUSTER"
  exists || fail "no $CLUSTER cluster $NAME is there" "Run: scripts/cluster.sh up $CLUSTER"
  same_cluster
  kube get pods --all-namespaces --output wide || echo "The pods of all namespaces cannot be listed; each namespace by itself:"
  local namespace
  for namespace in kube-system cert-manager envoy-gateway-system kserve kubeflow penstock penstock-mlflow; do
    say "what is not ready in $namespace"
    unready "$namespace"
  done
}

CLUSTER=${2:-}
case $CLUSTER in
  kind) CONTEXT=kind-$NAME ;;
  minikube) CONTEXT=$NAME ;;
  *) fail "CLUSTER is '$CLUSTER', not kind or minikube" "Run: make cluster-up CLUSTER=kind. For a cluster of yours: docs/cluster.md" ;;
esac
case ${1:-} in
  up) up ;;
  down) down ;;
  diagnose) diagnosis ;;
  *) fail "'${1:-}' is neither up, down nor diagnose" "Run: scripts/cluster.sh up $CLUSTER" ;;
esac
