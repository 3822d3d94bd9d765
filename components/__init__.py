"""The face of each step for Kubeflow Pipelines."""
