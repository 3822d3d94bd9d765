"""Proposals: what a reference dataset makes us expect, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from penstock.data.table import read_dataset
from penstock.errors import InputError
from penstock.quality.check import validate
from penstock.quality.propose import contract_of, propose
from penstock.quality.spec import Expectation

ROWS = 400


def columns() -> dict[str, list]:
    start = datetime(2024, 3, 5, 17, 30, tzinfo=UTC)
    return {
        "id": [f"c{n:05}" for n in range(ROWS)],
        "number": [2**60 + n for n in range(ROWS)],
        "count": [n % 11 for n in range(ROWS)],
        "change": [(n % 100) / 8 - 4.25 for n in range(ROWS)],
        "constant": [3.0] * ROWS,
        "city": [["Bern", "Genf", "Zug"][n % 3] for n in range(ROWS)],
        "nearly": [f"n{min(n, ROWS - 2)}" for n in range(ROWS)],
        "free": [f"text {n // 2}" for n in range(ROWS)],
        "gaps": [None if n % 5 == 0 else 1.5 * (n % 7) for n in range(ROWS)],
        "rare": [None if n % 5 else 1.5 * (n % 3) for n in range(ROWS)],
        "when": [start + timedelta(hours=n) for n in range(ROWS)],
        "member": [n % 2 == 0 for n in range(ROWS)],
        "label": [["no", "yes"][n % 4 == 0] for n in range(ROWS)],
    }


def of(proposed: tuple[Expectation, ...], column: str) -> dict[str, Expectation]:
    """The expectations about a column by short type and severity."""
    short = {
        "expect_column_values_to_not_be_null": "present",
        "expect_column_values_to_be_between": "range",
        "expect_column_values_to_be_in_set": "set",
        "expect_column_values_to_be_unique": "unique",
    }
    return {
        f"{short[item.type]} {item.severity}": item
        for item in proposed
        if item.kwargs.get("column") == column
    }


@pytest.fixture
def proposed(make) -> tuple[Expectation, ...]:
    return propose(make(**columns()), target="label")


def test_every_expectation_says_why(proposed) -> None:
    for item in proposed:
        assert item.meta["notes"].endswith(".")


def test_row_count_has_a_floor(proposed) -> None:
    (rows,) = [p for p in proposed if p.type == "expect_table_row_count_to_be_between"]
    assert (rows.kwargs, rows.severity) == ({"min_value": 40}, "block")


def test_target_has_its_classes_and_is_never_missing(proposed) -> None:
    about = of(proposed, "label")
    assert set(about) == {"present block", "set block"}
    assert about["set block"].kwargs["value_set"] == ["no", "yes"]
    assert "mostly" not in about["present block"].kwargs


def test_missing_values_get_a_ceiling(proposed) -> None:
    assert of(proposed, "city")["present block"].kwargs["mostly"] == 0.99
    assert of(proposed, "gaps")["present block"].kwargs["mostly"] == 0.6
    # four fifths missing: more of it would be no surprise
    assert "present block" not in of(proposed, "rare")


def test_numbers_get_a_range_with_tolerance(proposed) -> None:
    count = of(proposed, "count")
    assert count["range warn"].kwargs == {"column": "count", "min_value": 0, "max_value": 11}
    assert count["range block"].kwargs == {"column": "count", "min_value": 0, "mostly": 0.99}
    change = of(proposed, "change")
    assert "range block" not in change
    assert change["range warn"].kwargs["min_value"] == -5.5
    assert change["range warn"].kwargs["max_value"] == 9.4
    assert of(proposed, "constant")["range warn"].kwargs["max_value"] == pytest.approx(3.3)


def test_categories_get_their_values(proposed) -> None:
    about = of(proposed, "city")
    assert about["set warn"].kwargs["value_set"] == ["Bern", "Genf", "Zug"]
    assert set(of(proposed, "free")) == {"present block"}
    assert set(of(proposed, "nearly")) == {"present block"}


@pytest.mark.parametrize("name", ["id", "number"])
def test_identifiers_must_not_repeat_and_have_no_range(proposed, name: str) -> None:
    assert set(of(proposed, name)) == {"present block", "unique warn"}


def test_times_are_open_at_the_top(proposed) -> None:
    kwargs = of(proposed, "when")["range warn"].kwargs
    assert kwargs == {"column": "when", "min_value": "2024-03-05T00:00:00+00:00"}


def test_regression_target_has_a_range(make) -> None:
    about = of(propose(make(**columns()), target="change"), "change")
    assert set(about) == {"present block", "range warn"}


def test_whole_numbers_of_a_regression_are_no_classes(make) -> None:
    folder = make(x=[1.5, 2.5] * 30, y=[0, 1, 2] * 20)
    assert "set block" in of(propose(folder, target="y"), "y")
    about = of(propose(folder, target="y", task="regression"), "y")
    assert set(about) == {"present block", "range block", "range warn"}


def test_integer_classes_are_integers(make) -> None:
    folder = make(x=[1.5, 2.5] * 30, y=[0, 1] * 30, z=[0.0, 1.0] * 30)
    assert of(propose(folder, target="y"), "y")["set block"].kwargs["value_set"] == [0, 1]
    values = of(propose(folder, target="z"), "z")["set block"].kwargs["value_set"]
    assert [type(value) for value in values] == [int, int]


def test_extreme_numbers_are_survived(make) -> None:
    folder = make(
        huge=[1e150, -1e150] * 30,
        tiny=[5e-324, 0.0] * 30,
        near=[1e9, 1e9 + 1e-6] * 30,
        y=[0, 1] * 30,
    )
    proposed = propose(folder, target="y")
    for name, low, high in (("huge", -1e150, 1e150), ("near", 1e9, 1e9 + 1e-6)):
        kwargs = of(proposed, name)["range warn"].kwargs
        assert kwargs["min_value"] <= low < high <= kwargs["max_value"]


def test_target_must_be_there(make) -> None:
    with pytest.raises(InputError, match="'lable' is not in the table"):
        propose(make(**columns()), target="lable")


def test_contract_is_the_dataset_s_schema(make) -> None:
    contract = contract_of(read_dataset(make(n=[1], s=["a"], t=[datetime(2024, 1, 1)])))
    assert [(c.name, c.type) for c in contract.columns] == [
        ("n", "integer"),
        ("s", "string"),
        ("t", "datetime"),
    ]


@pytest.mark.slow
def test_reference_meets_its_own_proposal(make, tmp_path: Path) -> None:
    folder = make(**columns())
    found = validate(
        folder,
        contract=contract_of(read_dataset(folder)),
        expectations=propose(folder, target="label"),
        results=tmp_path / "v.json",
        report=tmp_path / "v.html",
    )
    assert [f.sentence for f in found.findings if not f.passed] == []


@pytest.mark.slow
def test_census_test_part_fails_on_its_dotted_labels_alone(adult: Path, tmp_path: Path) -> None:
    expectations = propose(adult / "train", target="income")
    found = {
        part: validate(
            adult / part,
            contract=contract_of(read_dataset(adult / "train")),
            expectations=expectations,
            results=tmp_path / "v.json",
            report=tmp_path / "v.html",
        )
        for part in ("train", "test")
    }
    assert found["train"].passed
    assert [f.sentence for f in found["train"].findings if not f.passed] == []
    assert not found["test"].passed
    (failure,) = [f for f in found["test"].findings if not f.passed]
    assert failure.check == "expect_column_values_to_be_in_set"
    assert failure.column == "income"
    assert failure.samples == ("<=50K.", ">50K.")
    assert (failure.checked, failure.unexpected) == (16281, 16281)
