"""A dataset divided into a training part and a holdout, with proof that nothing crosses."""

from penstock.data.split.writer import split

__all__ = ["split"]
