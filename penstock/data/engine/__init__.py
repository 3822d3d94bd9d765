"""The engine: does the same work on the parts of a dataset, here or in several processes."""

from penstock.data.engine.each import Each, here
from penstock.data.engine.opening import opened
from penstock.data.engine.spec import EngineSpec

__all__ = ["Each", "EngineSpec", "here", "opened"]
