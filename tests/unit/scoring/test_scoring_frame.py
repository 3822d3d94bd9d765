"""Rows of a data frame: what a model cannot read of it is refused in words, never misread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from penstock.errors import InputError
from penstock.records.dataset import Column
from penstock.records.model import Model
from penstock.scoring.frame import rows_of_frame

COLUMNS = (Column(name="age", type="integer"), Column(name="job", type="string"))
RECORD = Model.model_construct(columns=COLUMNS, reading=None)


def _frame(age: Any, job: Any = ("pilot", None)) -> pd.DataFrame:
    return pd.DataFrame({"age": age, "job": list(job)})


@pytest.mark.parametrize(
    "age",
    [
        pd.Series([2**70, 1], dtype=object),
        pd.Series([[1], [2]]),
        pd.Series([{"a": 1}, {"a": 2}]),
        pd.Series([np.array([1, 2]), np.array([3])]),
        pd.Series(pd.period_range("2024", periods=2)),
        pd.Series(pd.interval_range(0, 2)),
        pd.Series([object(), object()]),
    ],
    ids=["too-large", "lists", "objects", "arrays", "periods", "intervals", "things"],
)
def test_a_value_of_no_table_is_refused_by_its_row_and_column(age: pd.Series) -> None:
    with pytest.raises(InputError, match="row 1, column 'age': expected a whole number"):
        rows_of_frame(_frame(age), RECORD)


def test_half_a_character_and_an_infinite_number_are_refused_as_what_they_are() -> None:
    with pytest.raises(InputError, match="row 1, column 'job': expected text"):
        rows_of_frame(_frame([1, 2], ["\ud800", "a"]), RECORD)
    with pytest.raises(InputError, match="got inf"):
        rows_of_frame(_frame([np.inf, 1.0]), RECORD)


def test_a_label_that_is_no_text_is_found_and_one_that_is_there_twice_is_refused() -> None:
    numbered = Model.model_construct(columns=(Column(name="0", type="integer"),), reading=None)
    found = rows_of_frame(pd.DataFrame({0: [3, 4]}), numbered)
    assert found.typed.to_pydict() == {"0": [3, 4]}
    frame = _frame([1, 2])
    with pytest.raises(InputError, match="2 columns 'age'"):
        rows_of_frame(pd.concat([frame, frame[["age"]]], axis=1), RECORD)


def test_rows_that_are_no_data_frame_are_refused() -> None:
    given: Any = {"age": [1], "job": ["pilot"]}
    with pytest.raises(InputError, match="a pandas DataFrame, not a dict"):
        rows_of_frame(given, RECORD)
