"""Why a pipeline has no exact ONNX form."""

from __future__ import annotations

from penstock.errors import PenstockError


class NotConvertibleError(PenstockError):
    """A pipeline has something that has no exact ONNX form here."""
