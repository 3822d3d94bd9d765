"""A validation is the same, to the last byte, for every engine, partition and order of parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from engine_work import Killed
from engines import engines as engines
from expectation_tables import KINDS, Expecting, table

from penstock.data.engine import Each
from penstock.data.table import parts_of, write_dataset
from penstock.errors import IntegrityError
from penstock.quality.check import validate
from penstock.quality.engine import Pass, planned
from penstock.quality.spec import Contract, Expectation, ValidationSpec

LONG = pytest.mark.long


def shuffled(seed: int) -> Each:
    """Return an engine of single parts in any order."""
    chance = random.Random(seed)

    def each(work: Callable[[Sequence[Any]], Any], parts: Sequence[Any]) -> Iterator[Any]:
        for part in chance.sample(list(parts), len(parts)):
            yield work([part])

    return each


def cut(folder: Path, rows: pa.Table, *, group: int, part: int, monkeypatch) -> Path:
    """Write rows in row groups and files of about so many."""
    monkeypatch.setattr("penstock.data.table.writer.GROUP_ROWS", group)
    monkeypatch.setattr("penstock.data.table.writer.PART_ROWS", part)
    pieces = [rows.slice(start, group) for start in range(0, len(rows), group)]
    write_dataset(pieces, output=folder, source="random")
    return folder


def expectations(rows: pa.Table, folder: Path, chance: random.Random) -> list[Expectation]:
    """Return expectations of every kind that are checked by states."""
    from penstock.data.table import read_dataset

    draw, dataset = Expecting(chance, rows), read_dataset(folder)
    drawn = [draw.draw(kind) for kind in KINDS for _ in range(2)]
    return [one for at, one in enumerate(drawn) if planned(one, dataset, at) is not None]


def said(folder: Path, suite: list[Expectation], out: Path, each: Each) -> bytes:
    validate(
        folder, contract=Contract(), expectations=suite, results=out / "v.json",
        report=out / "v.html", each=each,
    )  # fmt: skip
    return (out / "v.json").read_bytes()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=LONG) for seed in range(1, 6))])
def test_engine_partition_and_order_change_no_byte(
    engines, tmp_path: Path, monkeypatch, seed: int
) -> None:
    chance = random.Random(seed)
    rows = table(chance, 300)
    sizes = [(300, 300), (37, 100), (23 + 10 * seed, 90)]
    folders = [
        cut(tmp_path / f"cut-{at}", rows, group=group, part=part, monkeypatch=monkeypatch)
        for at, (group, part) in enumerate(sizes)
    ]
    assert len({len(parts_of(folder)) for folder in folders}) == len(folders)
    suite = expectations(rows, folders[0], chance)
    assert len(suite) > 30
    monkeypatch.setattr("penstock.quality.states.sliced._ROWS", 150)
    found = {
        said(folder, suite, tmp_path / f"{name}-{at}", each)
        for at, folder in enumerate(folders)
        for name, each in [("order", shuffled(seed)), ("here", engines["here"])]
    }
    monkeypatch.undo()
    # Starting Dask costs seconds: where it runs already, it is in tests/unit/data/engine.
    for name in ("processes", *(["dask"] if seed else [])):
        found.add(said(folders[1], suite, tmp_path / name, engines[name]))
    assert len(found) == 1


@pytest.mark.long
@pytest.mark.parametrize("name", ["processes", "dask"])
def test_a_worker_that_is_killed_changes_no_byte(
    engines, tmp_path: Path, monkeypatch, name: str
) -> None:
    chance = random.Random(7)
    rows = table(chance, 300)
    folder = cut(tmp_path / "data", rows, group=20, part=100, monkeypatch=monkeypatch)
    suite = expectations(rows, folder, chance)
    marker = tmp_path / "killed"

    def each(work: Pass, parts: Sequence[Any]) -> Iterator[Any]:
        return engines[name](Killed(work, marker), parts)

    whole = said(folder, suite, tmp_path / "whole", engines["here"])
    assert said(folder, suite, tmp_path / "killed-once", each) == whole
    assert marker.exists()


@pytest.mark.parametrize("name", ["here", "processes", pytest.param("dask", marks=LONG)])
def test_a_part_that_is_torn_in_the_middle_is_a_sentence(
    engines, tmp_path: Path, monkeypatch, name: str
) -> None:
    rows = pa.table({"age": list(range(4000)), "job": [f"job-{n}" for n in range(4000)]})
    folder = cut(tmp_path / "data", rows, group=500, part=2000, monkeypatch=monkeypatch)
    torn = folder / "part-00001.parquet"
    held = bytearray(torn.read_bytes())
    held[200 : len(held) // 2] = b"\xff" * (len(held) // 2 - 200)
    torn.write_bytes(held)
    expected = Expectation(
        type="expect_column_values_to_match_regex", kwargs={"column": "job", "regex": "^job"}
    )
    with pytest.raises(IntegrityError, match=r"part-00001.parquet: the file cannot be read"):
        said(folder, [expected], tmp_path / "out", engines[name])
    assert not (tmp_path / "out" / "v.json").exists()


@pytest.mark.parametrize("name", ["processes", pytest.param("dask", marks=LONG)])
def test_quarantine_is_the_same_for_every_engine(
    engines, tmp_path: Path, monkeypatch, name: str
) -> None:
    chance = random.Random(3)
    rows = pa.table({"age": [chance.randint(-5, 130) for _ in range(600)]})
    suite = [
        Expectation(
            type="expect_column_values_to_be_between",
            kwargs={"column": "age", "min_value": 0, "max_value": 120},
        )
    ]
    digests = set()
    for engine in ("here", name):
        folder = cut(tmp_path / engine, rows, group=50, part=200, monkeypatch=monkeypatch)
        out = tmp_path / f"out-{engine}"
        found = validate(
            folder, contract=Contract(), expectations=suite, results=out / "v.json",
            report=out / "v.html", valid=out / "valid", quarantined=out / "quarantined",
            each=engines[engine],
            options=ValidationSpec.parse(
                {"on_fail": "quarantine", "quarantine": {"max_share": 0.5}}, where="validation"
            ),
        )  # fmt: skip
        assert found.quarantine is not None
        digests.add((found.quarantine.kept, found.quarantine.content, found.quarantine.rows))
    assert len(digests) == 1
