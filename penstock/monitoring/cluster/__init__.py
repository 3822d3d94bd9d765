"""The monitor of a service on a cluster, and what its runs of Kubeflow carry out."""
