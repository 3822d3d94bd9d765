"""Fixtures of whatever is measured on a holdout."""

from evaluation_world import make, worlds

__all__ = ["make", "worlds"]
