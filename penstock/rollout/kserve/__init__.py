"""Routers that steer KServe on a Kubernetes cluster."""
