"""Penstock: components for Kubeflow Pipelines; a model is served only after a recorded approval."""

from penstock import telemetry
from penstock.common.missing import tell_of_missing_libraries

__version__ = "0.1.0"

telemetry.switch_off()
tell_of_missing_libraries()
