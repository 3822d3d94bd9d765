"""Fixtures of what is compared with a holdout."""

from evaluation_world import worlds

__all__ = ["worlds"]
