"""A scoring by an engine writes the same bytes as one in this process, whatever dies meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_work import Killed
from engines import engines as engines
from scored_tables import source_of
from serving_process import ROW
from test_score_killed import files_of, killed

from penstock.captures.places import LocalPlace
from penstock.captures.reader import read_window
from penstock.data.engine import Each, EngineSpec
from penstock.errors import InputError, ServiceError
from penstock.records.scores import Scores
from penstock.scoring.score import Order, score


def rows(count: int = 20) -> list[dict[str, Any]]:
    """Rows of which the fifth is refused."""
    made = [ROW | {"age": 20 + at, "job": ["clerk", "nurse", None][at % 3]} for at in range(count)]
    return [*made[:4], ROW | {"age": 30.5}, *made[4:]]


@pytest.fixture
def working_on(
    engines: dict[str, Each], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Callable[[Order], Scores]]:
    """`working_on(name, marker)` returns a `score` whose engine loses a worker at its first work.

    Blocks of the source are of three rows.
    """
    monkeypatch.setattr("penstock.scoring.source._ROWS", 3)

    def get(name: str, marker: Path | None = None) -> Callable[[Order], Scores]:
        given = engines[name]

        def each(work: Any, parts: Any) -> Iterator[Any]:
            return given(Killed(work, marker), parts)

        @contextlib.contextmanager
        def opened(_: EngineSpec | None) -> Iterator[Each]:
            yield given if marker is None else each

        def scored(order: Order) -> Scores:
            # One engine for all tests: each start of Dask takes seconds.
            monkeypatch.setattr("penstock.scoring.score.opened", opened)
            return score(order)

        return scored

    return get


# Dask and explanations cost seconds: the long case has them.
@pytest.mark.parametrize("onnx", [True, pytest.param(False, marks=pytest.mark.long)])
def test_every_engine_writes_the_same_bytes(
    registered: Callable[..., Any],
    working_on: Callable[..., Callable[[Order], Scores]],
    tmp_path: Path,
    onnx: bool,
) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    version = registered(onnx=onnx)
    found = {}
    for name in ("here", "processes", *(["dask"] if not onnx else [])):
        order = version.order(
            data, tmp_path / name, keep=("id",), on_error="quarantine", part_rows=7,
            explain=not onnx, capture=str(tmp_path / f"captures-{name}"), run="r",
        )  # fmt: skip
        marker = None if name == "here" else tmp_path / f"{name}-killed"
        scores = working_on(name, marker)(order)
        assert marker is None or marker.exists()
        captured = read_window(order.capture, after=None).table.drop(["time"])
        unlike = {"started", "finished", "destination", "capture"}
        found[name] = (scores.model_dump(exclude=unlike), files_of(tmp_path / name), captured)
    first = found.pop("here")
    assert (first[0]["scored"], len(first[0]["parts"]), first[2].num_rows) == (20, 3, 20)
    for name, other in found.items():
        assert other == first, name


@pytest.mark.parametrize("name", ["processes", pytest.param("dask", marks=pytest.mark.long)])
def test_a_scoring_that_was_killed_goes_on_by_another_engine(
    registered: Callable[..., Any],
    working_on: Callable[..., Callable[[Order], Scores]],
    tmp_path: Path,
    name: str,
) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    order = registered().order(data, tmp_path / "out", on_error="quarantine", part_rows=7)
    whole = working_on("here")(replace(order, out=str(tmp_path / "whole")))
    score_here = working_on("here")
    assert killed(lambda: score_here(order), LocalPlace, "write", at=5, torn=False)
    scores = working_on(name)(order)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    assert scores.output_content == whole.output_content


def test_a_refused_row_leaves_the_parts_before_it(
    registered: Callable[..., Any],
    working_on: Callable[..., Callable[[Order], Scores]],
    tmp_path: Path,
) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    order = registered().order(data, tmp_path / "out", part_rows=2)
    with pytest.raises(InputError, match="the server would refuse this row, 5 of the source"):
        working_on("processes")(order)
    names = sorted(path.name for path in (tmp_path / "out" / "rows").iterdir())
    assert names == ["part-00000.parquet", "part-00001.parquet"]


@pytest.mark.long
def test_an_engine_that_cannot_start_leaves_nothing(
    registered: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(24, "Too many open files")

    # A machine that has no more files to open cannot be had here.
    monkeypatch.setattr(distributed, "LocalCluster", fails)
    data = source_of("jsonl", rows(), tmp_path)
    order = registered().order(data, tmp_path / "out", engine=EngineSpec(name="dask", workers=2))
    with pytest.raises(ServiceError, match="the Dask cluster cannot be started"):
        score(order)
    assert not (tmp_path / "out").exists()
