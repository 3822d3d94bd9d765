"""How far captured rows were read."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from pydantic import Field

from penstock.records.base import Value

_FORGET_DAYS = 60


class Position(Value):
    """How far one writer's rows were read."""

    number: int = Field(default=1, description="The segment that comes next, or is half read")
    lines: int = Field(default=0, description="Its lines that were read")
    offset: int = Field(default=0, description="Its bytes, uncompressed, that were read")
    rows: int = Field(default=0, description="Rows of the writer that were read or counted as lost")
    lost: int = Field(default=0, description="Dropped and unwritten rows that were counted already")
    ended: bool = Field(default=False, description="Nothing more comes of the writer")


class Cursor(Value):
    """Where reading goes on, by kind, folder and writer. It is JSON: `model_dump(mode="json")`."""

    positions: dict[str, Position] = Field(default={})

    def moved(self, positions: dict[str, Position], *, there: Collection[str]) -> Cursor:
        """Return it with new positions; writers that are long gone are forgotten.

        Args:
            positions: The new ones.
            there: Keys of the writers of which something is left.
        """
        every = {**self.positions, **positions}
        kept = {key: at for key, at in every.items() if key in there or not _long_gone(key)}
        return Cursor(positions=kept)


def _long_gone(key: str) -> bool:
    """Return whether a writer that is not there began so long ago that it never will be."""
    stamp = key.rpartition("/")[2][:8]
    oldest = datetime.now(UTC) - timedelta(days=_FORGET_DAYS)
    return stamp.isdigit() and stamp < oldest.strftime("%Y%m%d")
