"""What a library of boosted trees gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from penstock.records.model import Task

if TYPE_CHECKING:
    import numpy as np

PIECE = 1 << 15
"""Rows that a library gets at once: what it keeps of them is small, and no copy is made of all."""


@dataclass(frozen=True)
class Rows:
    """Rows to grow trees on, or to see on when to stop.

    Args:
        x: Features of these rows and maybe of others, shape (n, width), NaN for missing.
        y: Classes by their number, or the target, float64, shape (n,).
        weights: One a row; None: all alike.
        places: Which rows are meant, rising; None: all.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    places: np.ndarray | None = None

    def where(self, mask: np.ndarray) -> Rows:
        """Return the rows that a mask names; their features are not copied."""
        import numpy as np

        return replace(self, places=np.flatnonzero(mask))

    @property
    def targets(self) -> np.ndarray:
        """The target of the rows that are meant."""
        return self.y if self.places is None else self.y[self.places]

    @property
    def counts(self) -> np.ndarray | None:
        """The weights of the rows that are meant."""
        return (
            self.weights
            if self.weights is None or self.places is None
            else self.weights[self.places]
        )

    def __len__(self) -> int:
        return len(self.x) if self.places is None else len(self.places)

    def piece(self, part: slice) -> np.ndarray:
        """Return the features of a part of the rows that are meant."""
        return self.x[part] if self.places is None else self.x[self.places[part]]


@dataclass(frozen=True)
class Settings:
    """What a library gets besides rows.

    Args:
        task: What is predicted.
        classes: How many classes there are; 0 for a regression.
        parameters: By the library's own names.
        monotonic: 1 or -1 by feature: the margin may only rise or only fall with it.
        seed: Of what is drawn.
    """

    task: Task
    classes: int
    parameters: Mapping[str, Any]
    monotonic: Mapping[int, int]
    seed: int

    def directions(self, width: int) -> list[int]:
        """Return `monotonic` as a list over all features."""
        return [self.monotonic.get(at, 0) for at in range(width)]


class Booster(Protocol):
    """What a library grew."""

    @property
    def rounds(self) -> int:
        """Rounds of boosting; where it was to stop by itself, up to the best one."""
        ...

    def margins(self, x: np.ndarray) -> np.ndarray:
        """Return what the library says of rows before the link, shape (n, outputs)."""
        ...

    def arrays(self) -> dict[str, Any]:
        """Return the arguments of `penstock.model.boosted.BoostedTrees`, but width and classes."""
        ...

    def file(self) -> tuple[str, bytes]:
        """Return the library's own form, and the name that KServe's runtime looks for."""
        ...


class Library(Protocol):
    """One of the two libraries: a module of this package."""

    def grow(
        self, rows: Rows, settings: Settings, *, rounds: int, until: Rows | None, patience: int
    ) -> Booster:
        """Grow trees; with `until`, stop once so many rounds in a row did not improve on it."""
        ...
