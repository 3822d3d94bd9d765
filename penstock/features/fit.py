"""Fit the one transformer that training and serving share, on the training part alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.common.progress import say
from penstock.data.engine import Each, here
from penstock.data.table import read_dataset
from penstock.data.table.frames import read_rows, to_frame
from penstock.data.task import target_column
from penstock.data.types.storage import arrow_schema
from penstock.errors import InputError
from penstock.features.kinds import Choice, check_declared, choose
from penstock.features.levels import MISSING, RARE, KeptLevels, level_text
from penstock.features.own_transformer import fit_own, own_transformer
from penstock.features.report import render
from penstock.features.spec import FeaturesSpec
from penstock.features.statistics import ColumnStatistics, statistics_of
from penstock.model import skops_file
from penstock.model.folder import CODE_FOLDER
from penstock.own_code.importing import adopted
from penstock.own_code.making import Made
from penstock.records.dataset import Dataset, Level, Split
from penstock.records.features import FILE_NAME, TRANSFORMER_NAME, FeatureColumn, Features

if TYPE_CHECKING:
    import pandas as pd


def fit_features(
    train: Path,
    *,
    target: str,
    spec: FeaturesSpec,
    output: Path,
    report: Path,
    split: Split | None = None,
    each: Each = here,
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
        each: What maps over the parts of the dataset; the result is the same with every engine.

    Returns:
        The record.

    Raises:
        InputError: If the target is absent, constant or all null, a declared kind does not fit its
            column, a value is infinite or beyond 3.4e38, or no usable column is left.
        IntegrityError: If the dataset's files are not the ones that its record lists.
    """
    dataset = read_dataset(train)
    target_column(dataset, target)
    raw = [column for column in dataset.columns if column.name != target]
    if not raw:
        raise InputError("the table has no column but the target", where=str(train))
    check_declared(raw, spec)
    known = {
        k.column.name: k for k in statistics_of(train, dataset, target=target, spec=spec, each=each)
    }
    choices = choose(tuple(known.values()), spec=spec, split=split)
    choices, parts = _with_parts(choices, known, split)
    used = [choice for choice in choices if choice.kind != "drop"]
    _refuse_huge(used, known)
    if not used:
        reasons = "; ".join(f"{c.column.name!r}: {c.reason}" for c in choices)
        raise InputError(
            f"no usable column is left: {reasons}",
            where="features",
            remedy="Declare kinds in features.columns, or bring other columns.",
        )
    kept = {c.column.name: known[c.column.name].kept(spec) for c in used if c.kind == "category"}
    own = own_transformer(spec)
    described: dict[str, dict[str, Any]] = {}
    if own is not None:
        transformer, outputs = fit_own(own, _all_rows(train, used, rows=dataset.rows))
    else:
        transformer = build(used, parts, spec, kept).fit(_one_row(used))
        described = _described(transformer, kept, known)
        outputs = _outputs(transformer, described)
    record = _write(
        transformer, choices, dataset=dataset, known=known, described=described, target=target,
        outputs=outputs, own=own, spec=spec, to=output,
    )  # fmt: skip
    files.write_text(report, render(record))
    dropped = len(choices) - len(used)
    say(
        f"{len(record.outputs):,} features from {len(used):,} columns"
        + (f", {dropped:,} left out" if dropped else "")
    )
    return record


def _all_rows(train: Path, used: Sequence[Choice], *, rows: int) -> pd.DataFrame:
    """Return all rows, which the project's own transformer learns from."""
    import numpy as np

    return read_rows(train, [choice.column.name for choice in used], np.arange(rows))


def _one_row(used: Sequence[Choice]) -> pd.DataFrame:
    """Return a row of the columns' types: what there is to learn of the values was counted."""
    import pyarrow as pa

    schema = arrow_schema([choice.column for choice in used])
    row = pa.table([pa.nulls(1, field.type) for field in schema], schema=schema)
    return to_frame(row, [choice.column for choice in used])


def _refuse_huge(used: Sequence[Choice], known: Mapping[str, ColumnStatistics]) -> None:
    """Refuse numbers that no 32-bit float holds, which the trees of a forest take."""
    import numpy as np

    largest = float(np.finfo(np.float32).max)
    for choice in used:
        profile = known[choice.column.name].column.profile
        huge = max(profile.minimum or 0.0, profile.maximum or 0.0, key=abs)
        if choice.kind != "number" or abs(huge) <= largest:
            continue
        raise InputError(
            f"a number is as large as {huge:.3g}: trees compare 32-bit floats, of which the "
            f"largest is {largest:.2g}",
            where=f"column {choice.column.name!r}",
            remedy="Correct it in the source, give it in a larger unit, or leave the column out by "
            f"features.columns: {{{choice.column.name}: drop}}.",
        )


def build(
    used: Sequence[Choice],
    parts: dict[str, list[str]],
    spec: FeaturesSpec,
    kept: Mapping[str, KeptLevels] | None = None,
) -> Any:
    """Return the unfitted `ColumnTransformer` over the raw columns, in their order by kind.

    Numbers and booleans pass as they are, NaN where missing: trees split on a missing value, and
    the linear models impute and scale in their own step. A category becomes one column a level;
    missing counts as a level, and rare and unseen levels share one.

    Args:
        used: What the columns are taken for.
        parts: Parts of the calendar, of each time.
        spec: What is declared.
        kept: Levels of each category, counted before; None: they are counted where it is fitted.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    from penstock.features.transformers import (
        CommonLevels,
        DatetimeParts,
        HashedWords,
        MissingLevel,
    )

    groups: dict[str, list[str]] = {}
    for choice in used:
        groups.setdefault(_group(choice), []).append(choice.column.name)

    def encoder(group: str) -> CommonLevels:
        levels = None if kept is None else [list(kept[name].levels) for name in groups[group]]
        others = None if kept is None else [kept[name].other_rows > 0 for name in groups[group]]
        return CommonLevels(
            rare_share=spec.rare_share, max_levels=spec.max_levels, levels=levels, others=others
        )

    makers: dict[str, Any] = {
        "numbers": lambda: "passthrough",
        "categories": lambda: Pipeline(
            [("missing", MissingLevel()), ("levels", encoder("categories"))]
        ),
        "codes": lambda: encoder("codes"),
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
    choices: tuple[Choice, ...], known: Mapping[str, ColumnStatistics], split: Split | None
) -> tuple[tuple[Choice, ...], dict[str, list[str]]]:
    """Return the choices, and for each datetime the calendar parts that vary in it."""
    from penstock.features.transformers import CYCLES, PARTS

    result, parts = [], {}
    for choice in choices:
        if choice.kind == "datetime":
            name = choice.column.name
            calendar = known[name].calendar
            assert calendar is not None
            offered: tuple[str, ...] = PARTS
            if split is not None and split.method == "time" and split.column == name:
                # A part whose whole cycle was not seen has values in the holdout that are all new.
                offered = tuple(
                    part for part in PARTS if calendar.days >= CYCLES.get(part, math.inf)
                )
                choice = replace(choice, reason=_by_time(choice.reason, offered))
            varying = [part for part in offered if part in calendar.varying]
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
    known: Mapping[str, ColumnStatistics],
    described: Mapping[str, dict[str, Any]],
    target: str,
    outputs: tuple[str, ...],
    own: Made | None,
    spec: FeaturesSpec,
    to: Path,
) -> Features:
    columns = tuple(
        FeatureColumn(
            name=choice.column.name,
            type=choice.column.type,
            kind=choice.kind,
            chosen=choice.chosen,
            reason=choice.reason,
            missing=known[choice.column.name].missing,
            distinct=known[choice.column.name].distinct,
            **described.get(choice.column.name, {}),
        )
        for choice in choices
    )
    with files.whole_folder(to) as folder:
        skops_file.write(transformer, folder / TRANSFORMER_NAME)
        record = Features(
            dataset=dataset.content,
            target=target,
            rows=dataset.rows,
            columns=columns,
            outputs=outputs,
            transformer=files.digest_of_file(folder / TRANSFORMER_NAME),
            settings=spec.model_dump(mode="json", exclude_defaults=True, exclude={"engine"}),
            code=None if own is None else own.code,
        )
        if own is not None:
            adopted(own.code.digest).write(folder / CODE_FOLDER)
        record.write(folder / FILE_NAME)
    return record


def _outputs(transformer: Any, described: Mapping[str, dict[str, Any]]) -> tuple[str, ...]:
    return tuple(
        output
        for _, _, names in transformer.transformers_
        for name in names
        for output in described[name]["outputs"]
    )


def _described(
    transformer: Any, kept: Mapping[str, KeptLevels], known: Mapping[str, ColumnStatistics]
) -> dict[str, dict[str, Any]]:
    """Return what the fitted transformer makes of each column it takes."""
    found: dict[str, dict[str, Any]] = {}
    for group, fitted, names in transformer.transformers_:
        if group in ("categories", "codes"):
            found |= {name: _described_levels(known[name], kept[name]) for name in names}
        elif group == "times":
            pairs = zip(names, fitted.parts, strict=True)
            found |= {n: {"outputs": tuple(f"{n}: {p}" for p in parts)} for n, parts in pairs}
        elif group == "texts":
            buckets = range(fitted.buckets)
            found |= {n: {"outputs": tuple(f"{n}: word {b}" for b in buckets)} for n in names}
        else:
            found |= {name: {"outputs": (name,)} for name in names}
    return found


def _described_levels(known: ColumnStatistics, kept: KeptLevels) -> dict[str, Any]:
    column = known.column.name
    texts = [level_text(level) for level in kept.levels]
    # A text may be the very words that stand for a missing one.
    counted = {} if known.counted is None else known.counted.levels
    every = known.distinct + (known.missing > 0 and MISSING not in counted)
    return {
        "levels": sorted(
            (Level(value=text, rows=rows) for text, rows in zip(texts, kept.rows, strict=True)),
            key=lambda level: (-level.rows, level.value),
        ),
        # Of very many the number is an estimate, and one is sure.
        "rare_levels": max(every - len(texts), 1) if kept.other_rows else 0,
        "rare_rows": kept.other_rows,
        "outputs": tuple(f"{column}={text}" for text in (*texts, *[RARE] * (kept.other_rows > 0))),
    }
