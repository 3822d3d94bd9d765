"""Whether figures rest on what will not be there when the model is used."""

from __future__ import annotations

from pathlib import Path

from penstock.evaluation.holdout import Holdout
from penstock.policy.trust import LeakageRule
from penstock.records.dataset import Column, Split
from penstock.records.health import SPLIT_NAME, ColumnFigure, Leakage
from penstock.records.reference import FILE_NAME as REFERENCE_NAME
from penstock.records.reference import ROWS_NAME, Reference


def measure_leakage(holdout: Holdout, rule: LeakageRule, *, model: Path, seed: int) -> Leakage:
    """Measure what the rule on leakage asks about.

    Args:
        holdout: The rows and the models.
        rule: The policy's rule.
        model: The candidate's folder, which holds what is known of the rows it learned from.
        seed: Of the folds in which levels are measured.
    """
    taken = [column.name for column in holdout.record.columns]
    overlap, proof, both = _overlap(holdout, model) if rule.overlap else ("not asked", "", None)
    return Leakage(
        single_columns=_single_columns(holdout, seed=seed) if rule.single_column else (),
        not_at_serving=tuple(name for name in rule.not_at_serving if name in taken),
        unknown=tuple(
            name
            for name in rule.not_at_serving
            if name not in taken and holdout.dataset.column(name) is None
        ),
        overlap=overlap,
        proof=proof,
        rows_in_both=both,
    )


def _single_columns(holdout: Holdout, *, seed: int) -> tuple[ColumnFigure, ...]:
    from penstock.data.frames import to_frame
    from penstock.data.table import iter_columns
    from penstock.evaluation._single import strength

    found = []
    columns = {column.name: column for column in holdout.record.columns}
    for name, read in iter_columns(holdout.folder, list(columns)):
        values = to_frame({name: read}, [columns[name]])[name].to_numpy()
        value = strength(values, holdout.truth, task=holdout.record.task, seed=seed)
        found.append(ColumnFigure(column=name, value=value))
    return tuple(sorted(found, key=lambda figure: (-figure.value, figure.column)))


def _overlap(holdout: Holdout, model: Path) -> tuple[str, str, int | None]:
    """Return why it is not proved that no row is on both sides, how it is, and how many are."""
    if (model / SPLIT_NAME).is_file():
        split = Split.read(model / SPLIT_NAME)
        same = (split.train, split.holdout) == (holdout.record.dataset, holdout.dataset.content)
        if same and split.rows_in_both == 0:
            return "", "the split that made both parts read them back and compared every row", 0
    if not (model / REFERENCE_NAME).is_file() or not (model / ROWS_NAME).is_file():
        off = "" if holdout.record.carries_rows else " (training.carry_rows is off)"
        return f"the model does not carry hashes of the rows that it learned from{off}", "", None
    return _looked_up(holdout, model)


def _looked_up(holdout: Holdout, model: Path) -> tuple[str, str, int | None]:
    import numpy as np

    from penstock.data.fingerprints import found_in, row_hashes

    reference = Reference.read(model / REFERENCE_NAME)
    columns = tuple(Column(name=c.name, type=c.type) for c in reference.columns)
    for column in columns:
        there = holdout.dataset.column(column.name)
        if there is None or there.type != column.type:
            state = "has no" if there is None else f"holds as {there.type} the"
            return (
                f"the holdout {state} column {column.name!r} of the training rows, so that rows "
                "cannot be compared",
                "",
                None,
            )
    hashes = row_hashes(holdout.folder, columns)
    known = np.load(model / ROWS_NAME, allow_pickle=False)
    both, looked_up = found_in(hashes, known, complete=reference.hashes == "all")
    if both:
        return f"{both:,} of {looked_up:,} rows that were looked up are training rows", "", both
    if reference.hashes == "lowest":
        return (
            f"only {looked_up:,} of {len(hashes):,} rows could be looked up, for the model carries "
            "hashes of a part of its rows; none of those is a training row",
            "",
            None,
        )
    return "", "each row was looked up among the hashes of the training rows", 0
