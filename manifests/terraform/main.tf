# What a cluster needs for Penstock, by its Helm chart: `make chart` writes build/chart/penstock. The Secrets of
# docs/cluster.md must be there before. The provider is configured by whoever calls this module.
terraform {
  required_version = ">= 1.8"

  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = ">= 3.0, < 4.0"
    }
  }
}

variable "chart" {
  description = "Folder of the chart, or its address in an OCI registry of yours"
  type        = string
}

variable "chart_version" {
  description = "Version of the chart, where it comes from a registry"
  type        = string
  default     = null
}

variable "images" {
  description = "Whole references of the images mlflow and serving, better with digests; those left out are the chart's"
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.images), ["mlflow", "serving"])) == 0
    error_message = "There are the images mlflow and serving."
  }
}

resource "helm_release" "penstock" {
  name  = "penstock"
  chart = var.chart
  # The chart's objects name their namespaces themselves; here Helm keeps its own record.
  namespace = "kubeflow"
  version   = var.chart_version
  values    = [yamlencode({ images = var.images })]

  # Whole or not at all, and a failed upgrade goes back.
  atomic  = true
  timeout = 600
}

output "version" {
  description = "Penstock's version in the chart that was applied"
  value       = helm_release.penstock.metadata.app_version
}
