"""What is watched of a model, and how much room its reference leaves."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from monitored_rows import mixed, reference_to, score_reference

from penstock.errors import InputError
from penstock.monitoring.settings.tolerances import Tolerances
from penstock.monitoring.signals.definitions import bounded, signals_of
from penstock.records.reference import Reference


def test_each_column_has_the_same_weight_however_many_signals_it_has(tmp_path: Path) -> None:
    reference = reference_to(mixed(5000, seed=1), tmp_path / "rows")
    signals = signals_of(reference)
    by_column: dict[str, float] = {}
    for one in signals.signals:
        by_column[one.column] = by_column.get(one.column, 0) + one.weight
    assert by_column == pytest.approx(dict.fromkeys(("amount", "visits", "color"), 1 / 3))
    assert sum(one.column == "amount" for one in signals.signals) > 10


def test_scores_and_labels_keep_their_weight_beside_many_columns(tmp_path: Path) -> None:
    reference = reference_to(mixed(5000, seed=1), tmp_path / "rows")
    loss = bounded("loss", kind="loss", expected=0.2, tolerance=0.02, error=0.01, rows=400)
    scores = score_reference((0.1, 0.5, 0.9), (100, 200, 100))
    signals = signals_of(reference, scores=scores, more=[loss])
    assert sum(one.weight for one in signals.of("labels")) == pytest.approx(1 / 4)
    score = [one for one in signals.signals if one.name.startswith("score: ")]
    assert sum(one.weight for one in score) == pytest.approx(1 / 4)
    assert {one.column for one in score} == {""}
    assert signals.streams == ("rows", "labels")


@pytest.mark.parametrize("rows", [400, 1000, 100_000])
def test_a_small_reference_leaves_room_for_its_own_error(tmp_path: Path, rows: int) -> None:
    columns = {"color": pa.array(["red", "blue", "red", "gray"] * (rows // 4))}
    red = next(
        one
        for one in signals_of(reference_to(columns, tmp_path / "rows")).signals
        if "red" in one.name
    )
    assert red.expected == 0.5
    # 2.5 standard errors, by Wilson's interval, beside the tolerance of two points.
    error = 2.5 * 0.5 / np.sqrt(rows)
    assert red.high == pytest.approx(0.52 + error, rel=0.01)
    assert red.low == pytest.approx(0.48 - error, rel=0.01)


def test_what_never_occurred_may_still_occur_as_often_as_the_reference_cannot_exclude(
    tmp_path: Path,
) -> None:
    signals = signals_of(reference_to(mixed(1000, seed=1), tmp_path / "rows"))
    missing = next(one for one in signals.signals if one.name == "amount: missing")
    assert (missing.expected, missing.low) == (0, 0)
    assert missing.high == pytest.approx(0.01 + 2.5**2 / (1000 + 2.5**2))


def test_a_shift_is_measured_in_standard_deviations(tmp_path: Path) -> None:
    reference = reference_to(mixed(100_000, seed=1), tmp_path / "rows")
    signals = signals_of(reference, tolerances=Tolerances(shift=0.1))
    middle = next(one for one in signals.signals if one.column == "amount" and one.expected == 0.5)
    # A shift by 0.1 standard deviations moves 4 % of the rows across the median.
    assert middle.tolerance == pytest.approx(0.0399, abs=0.0001)


def test_what_is_not_watched_is_said(tmp_path: Path) -> None:
    columns = {
        "empty": pa.array([None, None, None], pa.float64()),
        "day": pa.array([0, 1, 2], pa.timestamp("us", tz="UTC")),
        "amount": pa.array([1.0, 2.0, 3.0]),
    }
    reference = reference_to(columns, tmp_path / "rows")
    signals = signals_of(reference, columns=["empty", "day", "later"], period=timedelta(days=7))
    assert signals.limits == (
        "'empty' was always missing in the reference: only that is watched.",
        "'day' is a time, which is always later: only missing ones are watched.",
        "The reference does not have the column 'later': it is not watched.",
        "The reference does not tell at what time its rows came: seasons of 7 days, 0:00:00 are "
        "not distinguished from drift.",
    )
    assert {one.column for one in signals.signals} <= {"empty", "day"}


def test_a_reference_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match="no rows to compare with"):
        signals_of(Reference(dataset="", rows=0, columns=()))


def test_the_digest_changes_with_what_is_watched(tmp_path: Path) -> None:
    reference = reference_to(mixed(1000, seed=1), tmp_path / "rows")
    signals = signals_of(reference)
    assert signals.digest == signals_of(reference).digest
    assert signals.digest != signals_of(reference, block_rows=51).digest
    assert signals.digest != signals_of(reference, tolerances=Tolerances(levels=0.03)).digest


def test_rows_of_the_reference_that_belong_together_count_as_one(tmp_path: Path) -> None:
    columns = {"color": pa.array(["red", "blue", "red", "gray"] * 2500)}
    reference = reference_to(columns, tmp_path / "rows")
    red = [
        next(one for one in signals_of(reference, together=rows).signals if "red" in one.name)
        for rows in (1, 25)
    ]
    assert red[1].high - 0.52 == pytest.approx(5 * (red[0].high - 0.52), rel=0.01)
    with pytest.raises(InputError, match="at least 1 row"):
        signals_of(reference, together=0.5)


def test_many_rare_levels_may_move_as_a_level_does(tmp_path: Path) -> None:
    shops = [f"shop {k}" for k in range(5000)] + ["main"] * 5000
    signals = signals_of(reference_to({"shop": pa.array(shops)}, tmp_path / "rows"))
    others = next(one for one in signals.signals if one.kind == "unseen")
    assert (others.expected, others.tolerance) == (0.5, 0.02)


def test_levels_that_are_listed_by_chance_leave_room_for_the_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    shops = np.char.add("shop ", rng.integers(0, 300, size=10_000).astype("U4"))
    signals = signals_of(reference_to({"shop": pa.array(shops)}, tmp_path / "rows"))
    others = next(one for one in signals.signals if one.kind == "unseen")
    # Of 300 shops that are alike, 250 are not listed; the 50 that are were frequent by chance.
    assert others.expected < 0.8 < 250 / 300 < others.high < 0.92
