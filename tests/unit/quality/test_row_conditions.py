"""Row conditions: what Penstock reads of them, what it leaves, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from penstock.data import arrow
from penstock.data.table import iter_batches, write_dataset
from penstock.errors import InputError
from penstock.quality.row_conditions import UnclearError, selection_of
from penstock.quality.spec import Expectation
from penstock.quality.states.base import Rows
from penstock.records.dataset import Dataset

ROWS = {
    "age": [25, 17, None, 40],
    "score": [0.5, None, 2.5, -1.0],
    "state": ["CA", "NY", None, "O'Hare"],
    "a b": [1, 2, 3, 4],
    "flag": [True, False, True, True],
    "day": [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)],
}


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[Path, Dataset]:
    folder = tmp_path / "data"
    return folder, write_dataset([pa.table(ROWS)], output=folder, source="rows")


def kept(dataset: tuple[Path, Dataset], condition: object, parser: str | None = "pandas"):
    """Return the numbers of the rows that a condition selects, from 0."""
    kwargs = {"column": "age", "row_condition": condition}
    if parser:
        kwargs["condition_parser"] = parser
    expectation = Expectation(type="expect_column_values_to_not_be_null", kwargs=kwargs)
    selection = selection_of(expectation, dataset[1], "expectations[0]")
    (batch,) = iter_batches(dataset[0])
    return [int(row) for row in arrow.flags(selection(Rows(batch, 0))).nonzero()[0]]


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("age > 20", [0, 3]),
        # A whole number that is missing is unknown, a double that is missing is not equal.
        ("age != 17", [0, 3]),
        ("score != 0.5", [1, 2, 3]),
        ("not (age > 20)", [1]),
        ("~(score > 0)", [1, 3]),
        ("state == 'CA' or state == \"O'Hare\"", [0, 3]),
        ("state not in ['CA']", [1, 2, 3]),
        ("20 < age <= 40", [0, 3]),
        ("20 < age", [0, 3]),
        ("`a b` > 1 & age > 20", [3]),
        ("age > 20 & score > 0 | state == 'NY'", [0, 1]),
        ("state == 'a & b'", []),
        ("state.isnull()", [2]),
        ("score.notna() and flag", [0, 2, 3]),
        ("day >= '2024-01-03'", [2, 3]),
        ("day == '2024-01-02T01:00:00+01:00'", [1]),
    ],
)
def test_expressions_of_pandas(dataset, condition: str, rows: list[int]) -> None:
    assert kept(dataset, condition) == rows
    assert kept(dataset, condition, parser=None) == rows
    assert kept(dataset, {"type": "pass_through", "pass_through_filter": condition}) == rows


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ('col("age") > 20', [0, 3]),
        ('col("score")<=-1e0', [3]),
        ("col(\"state\") == 'CA'", [0]),
        ('col("state").notNull()', [0, 1, 3]),
        ('col("a b") != 2', [0, 2, 3]),
    ],
)
def test_great_expectations_own_grammar(dataset, condition: str, rows: list[int]) -> None:
    assert kept(dataset, condition, parser="great_expectations") == rows


def test_what_great_expectations_would_pass_over_is_refused(dataset) -> None:
    with pytest.raises(InputError, match=r"only the first comparison of .* passes over 'and col"):
        kept(dataset, 'col("age") > 20 and col("score") > 0', parser="great_expectations")


def comparison(operator: str, value: object) -> dict:
    return {
        "type": "comparison",
        "column": {"name": "age"},
        "operator": operator,
        "parameter": value,
    }


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        (comparison("==", 17), [1]),
        (comparison("IN", [17, 40]), [1, 3]),
        (comparison("NOT_IN", [17]), [0, 2, 3]),
        ({"type": "nullity", "column": {"name": "age"}, "is_null": True}, [2]),
        ({"type": "or", "conditions": [comparison("<", 20), comparison(">", 30)]}, [1, 3]),
        ({"type": "and", "conditions": [comparison(">", 20), comparison("<", 30)]}, [0]),
    ],
)
def test_objects(dataset, condition: dict, rows: list[int]) -> None:
    assert kept(dataset, condition, parser=None) == rows


@pytest.mark.parametrize(
    ("condition", "parser"),
    [
        ("age > score", "pandas"),
        ("state.str.len() > 1", "pandas"),
        ("other > 1", "pandas"),
        ("age > 'x'", "pandas"),
        ("state > 'A'", "pandas"),
        ("age == [17]", "pandas"),
        ("age > @limit", "pandas"),
        ("age >", "pandas"),
        ("age > 20", "spark"),
        ("", "pandas"),
        ('col("day") > date("2024-01-01")', "great_expectations"),
        ({"type": "and", "conditions": [{"type": "or", "conditions": []}]}, None),
        ({"type": "else"}, None),
    ],
)
def test_the_rest_is_left_to_great_expectations(dataset, condition, parser) -> None:
    with pytest.raises(UnclearError):
        kept(dataset, condition, parser)
