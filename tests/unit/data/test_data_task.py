from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from penstock.data.table import write_dataset
from penstock.data.task import resolve_positive, resolve_task
from penstock.errors import InputError
from penstock.records.dataset import Dataset


@pytest.fixture
def table(tmp_path: Path) -> Callable[[Any], Dataset]:
    def write(values: Any) -> Dataset:
        rows = pa.table({"y": values, "x": range(len(values))})
        return write_dataset([rows], output=tmp_path / "d", source="test")

    return write


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["no", "yes", None], "binary"),
        ([True, False, True], "binary"),
        (["a", "b", "c"], "multiclass"),
        ([f"level {n}" for n in range(100)], "multiclass"),
        ([0, 1, 1], "binary"),
        ([1, 2, 2], "binary"),
        ([-1.0, 1.0, None], "binary"),
        ([0, 1, 2, 2], "multiclass"),
        ([0.0, 1.0, 2.0], "multiclass"),
        (list(range(20)) * 2, "multiclass"),
        (list(range(21)) * 2, "regression"),
        ([1, 2, 3], "regression"),
        ([0, 1, 3], "regression"),
        ([3, 5, 6, 7, 8], "regression"),
        ([0.5, 1.5], "regression"),
        ([n / 3 for n in range(50)], "regression"),
        (list(range(20_000)), "regression"),
    ],
)
def test_the_task_follows_from_the_target(
    values: list[Any], task: str, table: Callable[[Any], Dataset]
) -> None:
    assert resolve_task(table(values), target="y") == task


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([3, 4, 5], "multiclass"),
        ([0, 1], "regression"),
        ([0.5, 0.7], "regression"),
        (["a", "b"], "binary"),
    ],
)
def test_a_given_task_that_fits(
    values: list[Any], task: str, table: Callable[[Any], Dataset]
) -> None:
    assert resolve_task(table(values), target="y", task=task) == task


@pytest.mark.parametrize(
    ("values", "task", "said"),
    [
        (["a", "b"], "regression", "a regression needs numbers, but the target is a string"),
        ([True, False], "regression", "the target is a boolean column"),
        (["a", "b", "c"], "binary", "needs 2 classes, but the target has 3: 'a' \\(1 rows\\)"),
        (["a", "b"], "multiclass", "the target has only 2 classes"),
        ([0.5, 1.5, 2.5], "multiclass", "0.5 is no class label"),
        (["a", "a"], "auto", "the target is constant: every row that has it holds 'a'"),
        ([1.0, None], "auto", "constant"),
        ([None, None], "auto", "missing in every row"),
        ([f"{n} street" for n in range(101)], "auto", "101 different values, more than 100"),
        ([f"{n}" for n in range(20_000)], "auto", "more than 100 classes"),
        (list(range(500)), "multiclass", "more than 100 classes"),
        (pa.array([1, 2], pa.timestamp("s")), "auto", "a datetime cannot be predicted"),
        (["a", "b"], "ranking", "unknown task 'ranking'. Allowed: auto, binary"),
    ],
)
def test_a_target_or_task_that_does_not_fit(
    values: Any, task: str, said: str, table: Callable[[Any], Dataset]
) -> None:
    with pytest.raises(InputError, match=said):
        resolve_task(table(values), target="y", task=task)


def test_a_target_that_is_not_there(table: Callable[[Any], Dataset]) -> None:
    with pytest.raises(InputError, match=r"the target 'z' is not in the table. .* are: y, x"):
        resolve_task(table([1, 2]), target="z")


@pytest.mark.parametrize(
    ("values", "given", "positive"),
    [
        ([True, False, True], "", True),
        ([0, 1, 1], "", 1),
        ([0.0, 1.0, 1.0], "", 1),
        (["no", "yes", "no"], "", "yes"),
        (["b", "a"], "", "b"),
        ([1, 2, 2], "", 1),
        ([2, 10], "", 10),
        (["no", "yes", "no"], "no", "no"),
        ([0, 1], "0", 0),
        ([0.0, 1.0], "0", 0),
        ([True, False], "false", False),
        ([True, False], "False", False),
        (["1", "0"], "0", "0"),
    ],
)
def test_the_positive_class(
    values: list[Any], given: str, positive: object, table: Callable[[Any], Dataset]
) -> None:
    found = resolve_positive(table(values), target="y", positive=given)

    assert found == positive
    assert type(found) is type(positive)


def test_a_positive_class_that_does_not_occur(table: Callable[[Any], Dataset]) -> None:
    with pytest.raises(InputError, match=r"'>50K\.' is not in the target, which holds '<=50K'"):
        resolve_positive(table(["<=50K", ">50K"]), target="y", positive=">50K.")


def test_three_classes_have_no_positive_one(table: Callable[[Any], Dataset]) -> None:
    with pytest.raises(InputError, match="needs a target with 2 classes, this has 3"):
        resolve_positive(table(["a", "b", "c"]), target="y")
