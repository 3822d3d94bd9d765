"""Whether figures rest on what will not be there when the model is used."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.gate.holdout import Holdout
from penstock.gate.rules.leakage.spec import NOT_LOOKED_FOR, Leakage, LeakageSpec
from penstock.records.dataset import Column, Split
from penstock.records.health import SPLIT_NAME, ColumnFigure
from penstock.records.reference import FILE_NAME as REFERENCE_NAME
from penstock.records.reference import ROWS_NAME, Reference

if TYPE_CHECKING:
    from penstock.data.hashing.digest import Hashes


def measure_leakage(holdout: Holdout, settings: LeakageSpec, *, model: Path, seed: int) -> Leakage:
    """Measure what the rule on leakage needs.

    Args:
        holdout: The rows and the models.
        settings: Of the rule.
        model: The candidate's folder, which holds what is known of the rows it learned from.
        seed: Of the folds in which levels are measured.
    """
    taken = [column.name for column in holdout.record.columns]
    found = _overlap(holdout, model) if settings.overlap else _Overlap(NOT_LOOKED_FOR)
    return Leakage(
        single_columns=_single_columns(holdout, seed=seed) if settings.single_column else (),
        not_at_serving=tuple(name for name in settings.not_at_serving if name in taken),
        unknown=tuple(
            name
            for name in settings.not_at_serving
            if name not in taken and holdout.dataset.column(name) is None
        ),
        overlap=found.unproved,
        proof=found.proof,
        rows_in_both=found.both,
        by_chance=found.by_chance,
    )


def _single_columns(holdout: Holdout, *, seed: int) -> tuple[ColumnFigure, ...]:
    from penstock.data.table import iter_columns
    from penstock.data.table.frames import to_frame
    from penstock.metrics.single_column import strength

    found = []
    columns = {column.name: column for column in holdout.record.columns}
    for name, read in iter_columns(holdout.folder, list(columns)):
        values = to_frame({name: read}, [columns[name]])[name].to_numpy()
        value = strength(values, holdout.truth, task=holdout.record.task, seed=seed)
        found.append(ColumnFigure(column=name, value=value))
    return tuple(sorted(found, key=lambda figure: (-figure.value, figure.column)))


@dataclass(frozen=True)
class _Overlap:
    """Why it is not proved that no row is on both sides, or how it is; how many are, and may be."""

    unproved: str
    proof: str = ""
    both: int | None = None
    by_chance: int = 0


def _overlap(holdout: Holdout, model: Path) -> _Overlap:
    if (model / SPLIT_NAME).is_file():
        split = Split.read(model / SPLIT_NAME)
        same = (split.train, split.holdout) == (holdout.record.dataset, holdout.dataset.content)
        # A record without a task is of a release that took every equal row for a copy.
        if same and split.copies_in_both == 0 and (split.rows_in_both == 0 or split.task):
            both = split.rows_in_both
            method = "the split that made both parts read them back and compared every row"
            return _Overlap("", method, both, both)
    if not (model / REFERENCE_NAME).is_file() or not (model / ROWS_NAME).is_file():
        off = "" if holdout.record.carries_rows else " (training.carry_rows is off)"
        return _Overlap(f"the model does not carry hashes of the rows that it learned from{off}")
    return _looked_up(holdout, model)


def _looked_up(holdout: Holdout, model: Path) -> _Overlap:
    import numpy as np

    from penstock.data.hashing.rows import found_in

    reference = Reference.read(model / REFERENCE_NAME)
    columns = tuple(Column(name=c.name, type=c.type) for c in reference.columns)
    for column in columns:
        there = holdout.dataset.column(column.name)
        if there is None or there.type != column.type:
            state = "has no" if there is None else f"holds as {there.type} the"
            return _Overlap(
                f"the holdout {state} column {column.name!r} of the training rows, so that rows "
                "cannot be compared"
            )
    known = np.load(model / ROWS_NAME, allow_pickle=False)
    both = looked_up = 0
    for hashes in _hashes(holdout, columns):
        found, of = found_in(hashes, known, complete=reference.hashes == "all")
        both, looked_up = both + found, looked_up + of
    most = chance_overlap(looked_up, known=reference.known, rows_known=reference.rows)
    if both > most:
        note = f"{both:,} of {looked_up:,} rows that were looked up are training rows"
        if most:
            note += f", and chance explains {most:,} at most"
        return _Overlap(note, both=both, by_chance=most)
    if reference.hashes == "lowest":
        return _Overlap(
            f"only {looked_up:,} of {holdout.rows:,} rows could be looked up, for the model "
            f"carries hashes of a part of its rows; {'no more' if both else 'none'} of those "
            f"{'than chance explains are training rows' if both else 'is a training row'}"
        )
    note = "each row was looked up among the hashes of the training rows"
    return _Overlap("", note, both, most)


def _hashes(holdout: Holdout, columns: tuple[Column, ...]) -> Iterator[Hashes]:
    """Yield the hash of each row by some columns, which are nearly always all that there are."""
    from penstock.data.hashing.rows import row_hashes

    if len(columns) == len(holdout.dataset.columns):
        return (piece["rows"] for piece in holdout.hashed.hashes.everything())
    return row_hashes(holdout.folder, columns)


def chance_overlap(rows: int, *, known: float, rows_known: int) -> int:
    """Return how many fresh rows may equal training rows before chance does not explain it.

    The 99.9 % quantile of a binomial distribution, its share two standard errors above the
    estimate (Good, The population frequencies of species, 1953).

    Args:
        rows: Fresh rows.
        known: Estimated share of them that equal a training row.
        rows_known: Training rows that this was estimated from.

    Example:
        >>> chance_overlap(1000, known=0.0, rows_known=5000)
        0
    """
    if not known:
        return 0
    from scipy.stats import binom

    error = math.sqrt(known * (1 - known) / max(rows_known, 1))
    return int(binom.ppf(0.999, rows, min(1.0, known + 2 * error)))
