"""The Kubernetes API: who calls it, and what a project says of its cluster."""
