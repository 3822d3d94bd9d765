"""What a scored row is called, in captures and by the labels that come later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from penstock.errors import InputError
from penstock.scoring.source import Rows

COLUMN = "request_id"
"""The column of the output that has it, where it is asked for."""


def request_id(run: str, row: int | str) -> str:
    """Return the id of a row.

    Args:
        run: The scoring.
        row: The row's place in the source, counted from 1.

    Example:
        >>> request_id("2026-11-29", 17)
        '2026-11-29-17'
    """
    return f"{run}-{row}"


def kept_columns(keep: Sequence[str], *, ids: bool) -> tuple[str, ...]:
    """Return the columns that stand before the answer: those of the source, and the ids.

    Raises:
        InputError: If a column of the source has the ids' name.
    """
    if ids and COLUMN in keep:
        raise InputError(
            f"a column that is kept has the name of the one that is made: {COLUMN!r}",
            where="--request-ids",
            remedy="Rename it in the source, or leave it out.",
        )
    return (*keep, COLUMN) if ids else tuple(keep)


def with_ids(rows: Rows, *, run: str, before: int) -> Rows:
    """Return rows with their ids as a further column that is kept.

    Args:
        rows: The rows.
        run: The scoring.
        before: Rows of the source before them.
    """
    import pyarrow as pa

    kept = {name: rows.kept.column(name) for name in rows.kept.schema.names if name}
    ids = [request_id(run, before + at) for at in range(1, rows.count + 1)]
    kept[COLUMN] = pa.array(ids, pa.string())
    batch = pa.RecordBatch.from_arrays(list(kept.values()), list(kept))
    return replace(rows, kept=batch)
