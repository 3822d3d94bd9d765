"""A service on a Kubernetes cluster: KServe, by a gateway, natively, or with Knative."""
