"""Folds of a kind that the project file names: kept to the letter, or refused in a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from penstock.data.table import read_dataset
from penstock.errors import InputError
from penstock.model import load
from penstock.records.dataset import Split
from penstock.training.folds import make_folds
from penstock.training.inputs import Problem, read_problem
from penstock.training.spec import FoldsSpec, TrainingSpec

Tables = Callable[..., dict[str, Any]]
START = datetime(2026, 1, 1, tzinfo=UTC)
UNUSED = {"kind": "drop", "amount": "drop", "customer": "drop", "at": "drop"}


@pytest.fixture
def made(bench: Any, make_table: Tables) -> Any:
    """A table with customers and times, neither of them a feature."""
    at = [START + timedelta(days=int(day)) for day in np.random.default_rng(5).permutation(240)]
    bench.prepare(
        make_table() | {"customer": [f"c{i % 12}" for i in range(240)], "at": at}, columns=UNUSED
    )
    return bench


def split_by(bench: Any, method: Any, column: str = "") -> Split:
    content = read_dataset(bench.folder / "train").content
    return Split(
        method=method, column=column, seed=1, parent="p", train=content, holdout="h", train_rows=1,
        holdout_rows=1, duplicate_rows=0, rows_in_both=0, groups_in_both=0,
    )  # fmt: skip


def problem(bench: Any, split: Split | None = None, *, target: str = "y", **folds: Any) -> Problem:
    return read_problem(
        bench.folder / "train",
        features=bench.folder / "features",
        target=target,
        task="auto",
        positive="",
        split=split,
        folds=FoldsSpec(**folds),
    )


def test_a_number_alone_is_the_number_of_folds() -> None:
    assert TrainingSpec.parse({"folds": 6}, where="training").folds == FoldsSpec(number=6)
    assert TrainingSpec.parse({"folds": 6.0}, where="training").folds.number == 6
    for wrong, words in (
        ({"folds": 1}, "folds.number"),
        ({"folds": {"column": "customer"}}, "a column by group or by time, not with kind auto"),
        ({"folds": {"kind": "random", "gap": 2}}, "a gap with kind time, not random"),
    ):
        with pytest.raises(InputError, match=words):
            TrainingSpec.parse(wrong, where="training")


def test_groups_stay_whole_by_the_column_that_is_named(made: Any) -> None:
    given = problem(made, split_by(made, "time", "at"), kind="group", column="customer")
    folds, notes = make_folds(given, folds=4, seed=1)
    groups = np.arange(240) % 12
    for fold in folds:
        assert not set(groups[fold.rows]) & set(groups[fold.rows_out])
    assert any("rows of one customer on both sides" in note for note in notes)
    by_split = problem(made, split_by(made, "group", "customer"), kind="group")
    assert len(make_folds(by_split, folds=4, seed=1)[0]) == 4
    with pytest.raises(InputError, match=r"13 folds by kind group .* allow only 12 folds"):
        make_folds(by_split, folds=13, seed=1)
    for method in ("random", "stratified"):
        with pytest.raises(InputError, match="would judge the model on groups that it was trained"):
            problem(made, split_by(made, method), kind="group", column="customer")


def test_a_fold_is_fitted_on_rows_that_are_earlier_by_the_gap(made: Any) -> None:
    given = problem(made, kind="time", column="at", gap=7)
    folds, _ = make_folds(given, folds=3, seed=1)
    days = np.random.default_rng(5).permutation(240)
    for at, fold in enumerate(folds, 1):
        assert sorted(days[fold.rows_out]) == list(range(60 * at, 60 * at + 60))
        assert sorted(days[fold.rows]) == list(range(60 * at - 6))
    with pytest.raises(InputError, match=r"fold 1 of 3 .* \(the gap of 60.5 days leaves it 0 ro"):
        make_folds(problem(made, kind="time", column="at", gap=60.5), folds=3, seed=1)


def test_kinds_by_chance_are_what_they_are_called(made: Any) -> None:
    folds, notes = make_folds(
        problem(made, split_by(made, "time", "at"), kind="stratified"), folds=4, seed=1
    )
    shares = [fold.truth_out.mean() for fold in folds]
    assert max(shares) - min(shares) < 0.02
    assert notes[-1].startswith("The split keeps later rows apart and these folds do not")
    drawn, _ = make_folds(problem(made, kind="random"), folds=4, seed=1)
    spread = [fold.truth_out.mean() for fold in drawn]
    assert max(spread) - min(spread) > 0.02
    shutil.rmtree(made.folder / "features")
    made.fit(target="noise", columns=UNUSED | {"y": "drop"})
    with pytest.raises(InputError, match="a regression has no classes"):
        problem(made, target="noise", kind="stratified")


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        ({"kind": "group"}, "folds by group need a column"),
        ({"kind": "time", "column": "when"}, "no column 'when'"),
        ({"kind": "time", "column": "customer"}, "must be datetime or numeric, .* is string"),
        ({"kind": "time", "column": "x one"}, "12 rows have no value"),
        ({"kind": "group", "column": "job"}, "'job' whole, and it is also a feature"),
        ({"kind": "group", "column": "y"}, "'y' is the target"),
    ],
)
def test_a_column_that_no_folds_can_follow_is_refused(
    made: Any, folds: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        problem(made, **folds)


def test_a_class_that_a_fold_cannot_learn_is_refused(bench: Any, make_table: Tables) -> None:
    late = ["a"] * 200 + ["b"] * 40
    bench.prepare(
        make_table() | {"y": late, "customer": ["early"] * 200 + ["late"] * 40, "at": range(240)},
        columns=UNUSED,
    )
    with pytest.raises(InputError, match="fold 1 of 4 by kind time has no row of the class 'b'"):
        make_folds(problem(bench, kind="time", column="at"), folds=4, seed=1)
    with pytest.raises(InputError, match=r"by kind group has no row of the class '[ab]' to be fit"):
        make_folds(problem(bench, kind="group", column="customer"), folds=2, seed=1)


def test_rows_of_one_time_share_a_block_and_one_time_alone_is_refused(
    bench: Any, make_table: Tables
) -> None:
    days = np.random.default_rng(6).permutation(np.arange(240) // 80)
    table = make_table() | {"at": days.tolist(), "same": [7] * 240, "customer": ["c"] * 240}
    bench.prepare(table, columns=UNUSED | {"same": "drop"})
    folds, _ = make_folds(problem(bench, kind="time", column="at", number=2), folds=2, seed=1)
    found = [(set(days[fold.rows]), set(days[fold.rows_out])) for fold in folds]
    assert found == [({0}, {1}), ({0, 1}, {2})]
    with pytest.raises(InputError, match=r"10 folds by kind time .* the times allow only 2 folds"):
        make_folds(problem(bench, kind="time", column="at"), folds=10, seed=1)
    # Where the split is by that column the folds follow it, with as few as there can be.
    for given in (problem(bench, kind="time", column="same"),
                  problem(bench, split_by(bench, "time", "same"))):  # fmt: skip
        with pytest.raises(InputError, match=r"column 'same': its 1 time\(s\) cannot be cut"):
            make_folds(given, folds=3, seed=1)
    with pytest.raises(InputError, match=r"1 group\(s\) cannot be cut into two folds"):
        make_folds(problem(bench, kind="group", column="customer"), folds=3, seed=1)


def test_report_and_record_say_how_settings_were_compared(made: Any) -> None:
    folds = {"number": 3, "kind": "time", "column": "at", "gap": 7}
    made.train(folds=folds, trials=2, candidates=("xgboost",))
    record = load(made.folder / "model").record
    assert record.folds is not None
    assert record.folds.text == (
        "Settings were compared on 3 folds, each scored on later rows by at than it was fitted "
        "on, with a gap of 7 days between."
    )
    assert record.folds.text in (made.folder / "model.html").read_text()
