"""Where Kubernetes mounts what a pod knows of its account."""

from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Token, certificate and namespace."""
