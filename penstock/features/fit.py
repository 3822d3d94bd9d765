"""Fit the one transformer that training and serving share, on the training part alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.common.progress import say
from penstock.data.table import read_dataset, read_table
from penstock.data.table.frames import to_frame
from penstock.data.task import target_column
from penstock.errors import InputError
from penstock.features.kinds import Choice, choose
from penstock.features.report import render
from penstock.features.spec import FeaturesSpec
from penstock.records.dataset import Column, Dataset, Level, Split
from penstock.records.features import FILE_NAME, TRANSFORMER_NAME, FeatureColumn, Features

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def fit_features(
    train: Path,
    *,
    target: str,
    spec: FeaturesSpec,
    output: Path,
    report: Path,
    split: Split | None = None,
) -> Features:
    """Fit the transformer on a training part, and write it with its record and report.

    Args:
        train: The training part.
        target: The column to predict; it never becomes a feature.
        spec: The kinds that are declared; the others are inferred.
        output: Folder to make: `features.skops` (the fitted scikit-learn `ColumnTransformer`) and
            `features.json` (the record, which holds the transformer's digest).
        report: HTML file to write.
        split: How the holdout was cut off. The column of a group split is left out, and so is that
            of a time split if it is a number; of a time, the parts are left out whose whole cycle
            the training part does not hold, the year always: no later row shares them.

    Returns:
        The record.

    Raises:
        InputError: If the target is absent, constant or all null, a declared kind does not fit its
            column, a value is infinite or beyond 3.4e38, or no usable column is left.
        IntegrityError: If the dataset's files are not the ones that its record lists.
    """
    dataset = read_dataset(train)
    target_column(dataset, target)
    raw = tuple(Column(name=c.name, type=c.type) for c in dataset.columns if c.name != target)
    if not raw:
        raise InputError("the table has no column but the target", where=str(train))
    frame = to_frame(read_table(train, [column.name for column in raw]), raw)
    choices, parts = _with_parts(choose(frame, raw, spec=spec, split=split), frame, split)
    used = [choice for choice in choices if choice.kind != "drop"]
    _refuse_huge(frame, used)
    if not used:
        reasons = "; ".join(f"{c.column.name!r}: {c.reason}" for c in choices)
        raise InputError(
            f"no usable column is left: {reasons}",
            where="features",
            remedy="Declare kinds in features.columns, or bring other columns.",
        )
    transformer = build(used, parts, spec)
    transformer.fit(frame[[choice.column.name for choice in used]])
    record = _write(transformer, choices, dataset=dataset, frame=frame, target=target, to=output)
    files.write_text(report, render(record))
    dropped = len(choices) - len(used)
    say(
        f"{len(record.outputs):,} features from {len(used):,} columns"
        + (f", {dropped:,} left out" if dropped else "")
    )
    return record


def _refuse_huge(frame: pd.DataFrame, used: Sequence[Choice]) -> None:
    """Refuse numbers that no 32-bit float holds, which the trees of a forest take."""
    import numpy as np

    largest = float(np.finfo(np.float32).max)
    for choice in used:
        if choice.kind != "number":
            continue
        values = frame[choice.column.name].to_numpy()
        if not (np.abs(values) > largest).any():
            continue
        huge = values[int(np.nanargmax(np.abs(values)))]
        raise InputError(
            f"a number is as large as {huge:.3g}: trees compare 32-bit floats, of which the "
            f"largest is {largest:.2g}",
            where=f"column {choice.column.name!r}",
            remedy="Correct it in the source, give it in a larger unit, or leave the column out by "
            f"features.columns: {{{choice.column.name}: drop}}.",
        )


def build(used: Sequence[Choice], parts: dict[str, list[str]], spec: FeaturesSpec) -> Any:
    """Return the unfitted `ColumnTransformer` over the raw columns, in their order by kind.

    Numbers and booleans pass as they are, NaN where missing: trees split on a missing value, and
    the linear models impute and scale in their own step. A category becomes one column a level;
    missing counts as a level, and rare and unseen levels share one.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    from penstock.features.transformers import (
        CommonLevels,
        DatetimeParts,
        HashedWords,
        MissingLevel,
    )

    def encoder() -> CommonLevels:
        return CommonLevels(rare_share=spec.rare_share, max_levels=spec.max_levels)

    groups: dict[str, list[str]] = {}
    for choice in used:
        groups.setdefault(_group(choice), []).append(choice.column.name)
    makers: dict[str, Any] = {
        "numbers": lambda: "passthrough",
        "categories": lambda: Pipeline([("missing", MissingLevel()), ("levels", encoder())]),
        "codes": encoder,
        "times": lambda: DatetimeParts([parts[name] for name in groups["times"]]),
        "texts": lambda: HashedWords(spec.text_buckets),
    }
    return ColumnTransformer(
        [(group, make(), groups[group]) for group, make in makers.items() if group in groups],
        sparse_threshold=0.0,
        verbose_feature_names_out=False,
    )


def _group(choice: Choice) -> str:
    if choice.kind == "category":
        return "categories" if choice.column.type == "string" else "codes"
    return {"datetime": "times", "text": "texts"}.get(choice.kind, "numbers")


def _with_parts(
    choices: tuple[Choice, ...], frame: pd.DataFrame, split: Split | None
) -> tuple[tuple[Choice, ...], dict[str, list[str]]]:
    """Return the choices, and for each datetime the calendar parts that vary in it."""
    import numpy as np

    from penstock.features.transformers import CYCLES, PARTS, datetime_part

    result, parts = [], {}
    for choice in choices:
        if choice.kind == "datetime":
            name = choice.column.name
            known = frame[name].dropna().to_numpy()
            offered: tuple[str, ...] = PARTS
            if split is not None and split.method == "time" and split.column == name:
                # A part whose whole cycle was not seen has values in the holdout that are all new.
                days = (known.max() - known.min()) / np.timedelta64(1, "D")
                offered = tuple(part for part in PARTS if days >= CYCLES.get(part, np.inf))
                choice = replace(choice, reason=_by_time(choice.reason, offered))
            varying = [part for part in offered if len(set(datetime_part(known, part))) > 1]
            if varying:
                parts[name] = varying
            else:
                why = "no part of its calendar varies" if offered == PARTS else choice.reason
                choice = replace(choice, kind="drop", reason=why)
        result.append(choice)
    return tuple(result), parts


def _by_time(reason: str, offered: Sequence[str]) -> str:
    """Return the reason of the time column of a split, with the parts that it can lend."""
    kept = ", ".join(offered) or "none"
    return (
        f"{reason}; the rows were split by it, so only parts that come again in later rows are "
        f"kept: {kept}"
    )


def _write(
    transformer: Any,
    choices: tuple[Choice, ...],
    *,
    dataset: Dataset,
    frame: pd.DataFrame,
    target: str,
    to: Path,
) -> Features:
    from skops.io import dump

    described = dict(_described(transformer, frame))
    columns = tuple(
        FeatureColumn(
            name=choice.column.name,
            type=choice.column.type,
            kind=choice.kind,
            chosen=choice.chosen,
            reason=choice.reason,
            missing=choice.missing,
            distinct=choice.distinct,
            **described.get(choice.column.name, {}),
        )
        for choice in choices
    )
    with files.whole_folder(to) as folder:
        dump(transformer, folder / TRANSFORMER_NAME)
        record = Features(
            dataset=dataset.content,
            target=target,
            rows=len(frame),
            columns=columns,
            outputs=tuple(
                output
                for _, _, names in transformer.transformers_
                for name in names
                for output in described[name]["outputs"]
            ),
            transformer=files.digest_of_file(folder / TRANSFORMER_NAME),
        )
        record.write(folder / FILE_NAME)
    return record


def _described(transformer: Any, frame: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """Return what the fitted transformer makes of each column it takes."""
    found: list[tuple[str, dict[str, Any]]] = []
    for group, fitted, names in transformer.transformers_:
        if group in ("categories", "codes"):
            encoder = fitted["levels"] if group == "categories" else fitted
            rare = getattr(encoder, "infrequent_categories_", [None] * len(names))
            for name, levels, few in zip(names, encoder.categories_, rare, strict=True):
                found.append((name, _described_levels(frame[name], levels, few)))
        elif group == "times":
            pairs = zip(names, fitted.parts, strict=True)
            found += [(n, {"outputs": tuple(f"{n}: {p}" for p in parts)}) for n, parts in pairs]
        elif group == "texts":
            buckets = range(fitted.buckets)
            found += [(n, {"outputs": tuple(f"{n}: word {b}" for b in buckets)}) for n in names]
        else:
            found += [(name, {"outputs": (name,)}) for name in names]
    return found


def _described_levels(
    values: pd.Series, levels: np.ndarray, rare: np.ndarray | None
) -> dict[str, Any]:
    from penstock.features.transformers import MISSING, RARE

    def text(level: Any) -> str:
        if level is None or level != level:
            return MISSING
        # -0.0 is 0.
        return f"{level + 0.0:.15g}" if number else level

    number = values.dtype.kind == "f"
    rows = {text(level): int(count) for level, count in values.value_counts(dropna=False).items()}
    shared = set() if rare is None else {text(level) for level in rare}
    kept = [text(level) for level in levels if text(level) not in shared]
    few = set(rows) - set(kept)
    names = [f"{values.name}={level}" for level in kept]
    return {
        "levels": sorted(
            (Level(value=level, rows=rows.get(level, 0)) for level in kept),
            key=lambda level: (-level.rows, level.value),
        ),
        "rare_levels": len(few),
        "rare_rows": sum(rows.get(level, 0) for level in few),
        "outputs": (*names, f"{values.name}={RARE}") if shared else tuple(names),
    }
