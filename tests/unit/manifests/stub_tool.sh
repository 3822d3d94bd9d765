#!/usr/bin/env bash
# Stands for kind, minikube, kubectl, docker and curl, by the name it is called by. Records its calls in
# $STUB/calls and keeps what a cluster would keep in $STUB. FAIL is a pattern of calls that fail.
tool=$(basename "$0")
call="$tool $*"
echo "$call" >>"$STUB/calls"
after() { # the argument behind a word
  local previous=
  for argument in "${all[@]}"; do
    [ "$previous" = "$1" ] && { echo "$argument"; return; }
    previous=$argument
  done
}
all=("$@")
if [ -n "${FAIL:-}" ] && grep -qE -- "$FAIL" <<<"$call"; then
  # A transfer that breaks has written something.
  [ "$tool" != curl ] || echo half >"$(after --output)"
  echo "stub: refused: $tool" >&2
  exit 1
fi
case $call in
  "kind get clusters")
    cat "$STUB/clusters" 2>/dev/null
    [ ! -e "$STUB/other-clusters" ] || cat "$STUB/other-clusters" ;;
  "kind create cluster "*) after --name >>"$STUB/clusters" ;;
  "kind delete cluster "*) rm "$STUB/clusters" ;;
  "kind get kubeconfig "*) echo "    server: https://127.0.0.1:40001" ;;
  "minikube status "*--format*) cat "$STUB/profile" ;;
  "minikube status "*) test -e "$STUB/profile" ;;
  "minikube start "*) echo Configured >"$STUB/profile" ;;
  "minikube delete "*) rm "$STUB/profile" ;;
  "docker exec "*) ;;
  "docker image inspect "*) test ! -e "$STUB/no-images" ;;
  "curl "*) echo "from ${!#}" >"$(after --output)" ;;
  "kubectl config view "*) cat "$STUB/server" 2>/dev/null || echo https://127.0.0.1:40001 ;;
  "kubectl kustomize "*) for name in mlflow serving; do echo "  image: penstock/$name:$(cat "$STUB/version")"; done ;;
  *" get namespace "*installed*) cat "$STUB/mark-$(after namespace)" 2>/dev/null ;;
  *" annotate namespace "*)
    for argument in "$@"; do case $argument in penstock/installed=*) echo "${argument#*=}" >"$STUB/mark-$(after namespace)" ;; esac; done ;;
  *" get secret "*jsonpath*)
    key=${call##*\{.data.}
    sed -n "s/^${key%\}}=//p" "$STUB/secret-$(after secret)" | tr -d '\n' | base64 ;;
  *" get secret "*) test -e "$STUB/secret-$(after secret)" ;;
  *" create secret "*) cat >"$STUB/secret-$(after generic)" ;;
  *" patch configmap "*)
    if [ -e "$STUB/patched" ]; then echo "patched (no change)"; else touch "$STUB/patched"; echo patched; fi ;;
  *" get pods "*) cat "$STUB/pods" 2>/dev/null || echo "No resources found in $(after --namespace) namespace." >&2 ;;
  *" get pod "*) grep "^$(after pod) " "$STUB/pods" ;;
  *" describe pod "*) printf 'Name: x\nEvents:\n  Warning  Failed  kubelet  no such image\n' ;;
  *" logs "*)
    # As kubectl: no log of a container that has not started, and one that is gone is not found.
    pod=$(after logs)
    case $(awk -v pod="$pod" '$1 == pod { print $3 }' "$STUB/pods") in
      "") echo "Error from server (NotFound): pods \"$pod\" not found" >&2; exit 1 ;;
      Pending) exit 0 ;;
      *Image* | *Creating* | *Config* | Init:[0-9]*)
        error="container \"x\" in pod \"$pod\" is waiting to start: $(after namespace)"
        case $call in
          *--ignore-errors*) echo "error: $error" ;;
          *) echo "Error from server (BadRequest): $error" >&2; exit 1 ;;
        esac ;;
      *) echo "[pod/$pod/x] Traceback: the last line" ;;
    esac ;;
  *" exec "*) cat >"$STUB/user" ;;
  *" apply -f -") cat >/dev/null ;;
  *" create namespace "*) echo "kind: Namespace" ;;
esac
