"""Penstock: components for Kubeflow Pipelines that lead data to a served model, gate by gate."""

__version__ = "0.1.0"
