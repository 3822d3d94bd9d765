# shellcheck shell=bash
# For scripts/cluster.sh: what is not ready, in words. Needs `kube`.

# Say what failed, where, and what is known of the pods that are not ready there.
diagnose() { # step, namespace
  {
    printf '\nerror: the step "%s" failed; what is not ready in namespace %s:\n' "$1" "$2"
    unready "$2"
    printf '\nMend it and run the same command again: what is done already stays done.\n'
  } >&2 || true
}

# A look that fails must not end the ones behind it, whatever the caller has set: hence the shell of its own.
unready() ( # namespace
  set +eo pipefail
  if ! kube get namespace "$1" >/dev/null 2>&1; then
    echo "  The cluster does not answer, or has no such namespace: what the step itself printed says why."
    exit 0
  fi
  pods=$(kube get pods --namespace "$1" --no-headers 2>&1) || {
    printf '  Its pods cannot be listed: %s\n' "$pods"
    pods=
  }
  troubled <<<"$pods" | while read -r pod; do explain "$1" "$pod"; done
  printf '\n-- warnings in %s, latest last\n' "$1"
  kube get events --namespace "$1" --field-selector type=Warning --sort-by=.lastTimestamp 2>&1 | tail -n 10
  exit 0
)

# Of a list of pods, print those that are neither ready nor finished.
troubled() {
  awk '$2 ~ /^[0-9]+\/[0-9]+$/ { split($2, n, "/"); if ($3 != "Completed" && (n[1] != n[2] || $3 != "Running")) print $1 }'
}

explain() { # namespace, pod
  local state
  state=$(kube get pod "$2" --namespace "$1" --no-headers 2>/dev/null | awk '{ print $3 }')
  printf '\n-- pod %s/%s is %s\n' "$1" "$2" "${state:-gone}"
  [ -n "$state" ] || return
  advice "$state"
  kube describe pod "$2" --namespace "$1" 2>&1 | sed -n '/^Events:/,$p' | tail -n 8
  last_lines "$1" "$2"
}

# Of a container that has not started kubectl says so in place of its log.
last_lines() { # namespace, pod
  local log
  log=$(kube logs "$2" --namespace "$1" --all-containers --ignore-errors --prefix --tail=15 2>&1 </dev/null)
  if grep -qv '^\(error: .*\|Error from server .*\|\)$' <<<"$log"; then
    echo "   the last lines of its log:"
  else
    echo "   pod $1/$2 has no log${log:+:}"
  fi
  [ -z "$log" ] || printf '%s\n' "$log"
}

advice() { # state
  case $1 in
    *ImagePull* | *ErrImage*) echo "   Its image cannot be pulled. Ours: make images, then this command again. Others: the node needs a way to their registry." ;;
    *CreateContainerConfig*) echo "   A Secret or ConfigMap that it names is missing: docs/cluster.md says how to make it." ;;
    Pending) echo "   No node takes it: too little CPU or memory is free, or its volume cannot be made." ;;
    *CrashLoop* | *Error*) echo "   It starts and dies." ;;
    Running) echo "   It runs, but its readiness probe fails." ;;
  esac
}
