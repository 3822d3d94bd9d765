"""Captured rows as a table that `ingest` takes: the inputs, and the true label where it came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.captures.reader import labels_from, read_labels, read_window
from penstock.captures.table import INPUTS
from penstock.common.files import whole_folder
from penstock.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = "rows.parquet"


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        rows: Rows in the table.
        labelled: Those whose true label has come.
        lost: Rows that were lost while they were captured: the table is no whole sample of what
            users sent.
        erased: Rows that were erased on request.
    """

    rows: int
    labelled: int
    lost: int
    erased: int


def export(
    source: str | Path,
    *,
    output: Path,
    target: str,
    version: str | None = None,
    labelled: bool = False,
    since: datetime | None = None,
    requests: Callable[[str], bool] | None = None,
    time: str = "",
) -> Exported:
    """Write captured rows as Parquet, a column for each input and the truth as the target.

    Args:
        source: A capture folder, or a folder or address above some.
        output: The folder to make, which must not hold anything; `ingest` takes it.
        target: Name of the column that gets the true labels, null where none has come.
        version: Rows that this version answered alone; None: of all.
        labelled: Leave out the rows whose label has not come.
        since: Leave out rows that were answered before; None: take all.
        requests: Says of a request's id whether its rows are taken; None: all are.
        time: A column that gets the time of the answer, where no input has its name; empty: none.

    Raises:
        InputError: If there are no rows, if an input has the target's name, or versions' columns
            differ in type.
        ServiceError: If a store does not answer.

    Example:
        >>> export(Path("captures"), output=Path("captured"), target="paid")
        Traceback (most recent call last):
        ...
        penstock.errors.InputError: captures: there are no rows to export. ...
    """
    import pyarrow.parquet as pq

    captured = read_window(source, after=None, since=since, version=version)
    rows = _taken(captured.table, requests=requests)
    labels, _ = read_labels(source, after=None, since=labels_from(since))
    table = _with_truth(rows, labels, target)
    if time and time not in table.column_names:
        table = table.append_column(time, rows["time"])
    known = table.num_rows - table[target].null_count
    if labelled:
        table = table.filter(table[target].is_valid())
    if not table.num_rows:
        raise InputError(
            "there are no rows to export",
            where=str(source),
            remedy="Wait until users' requests, or labels of them, have come.",
        )
    with whole_folder(output) as folder:
        pq.write_table(table, folder / FILE_NAME)
    return Exported(rows=table.num_rows, labelled=known, lost=captured.lost, erased=captured.erased)


def _taken(rows: pa.Table, *, requests: Callable[[str], bool] | None) -> pa.Table:
    import pyarrow as pa

    if requests is not None:
        rows = rows.filter(pa.array(map(requests, rows["request_id"].to_pylist()), pa.bool_()))
    return rows


def _with_truth(rows: pa.Table, labels: pa.Table, target: str) -> pa.Table:
    inputs = {
        name.removeprefix(INPUTS): rows[name]
        for name in rows.column_names
        if name.startswith(INPUTS)
    }
    if target in inputs:
        raise InputError(
            f"an input of the captured rows has the target's name, {target!r}",
            where="target",
            remedy="Name another column for the true labels.",
        )
    import pyarrow as pa

    truths: dict[tuple[str, int], Any] = dict(
        zip(
            zip(labels["request_id"].to_pylist(), labels["row"].to_pylist(), strict=True),
            labels["label"].to_pylist(),
            strict=True,
        )
    )
    keys = zip(rows["request_id"].to_pylist(), rows["row"].to_pylist(), strict=True)
    kind = labels["label"].type if labels.num_rows else rows["label"].type
    # Of the first answer to an id: what another one was given under it has no label of its own.
    found = pa.array([truths.pop(key, None) for key in keys], kind)
    return pa.table({**inputs, target: found})
