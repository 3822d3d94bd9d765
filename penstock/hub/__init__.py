"""Kubeflow Hub, the model registry: what MLflow has of a model is written there too."""
