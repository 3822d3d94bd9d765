"""A split whose hashes take several parts gives what one part gives, to the byte."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from penstock.data.spec import SplitSpec
from penstock.data.split import hashed_table, known_rows, selection, spilled, split, table_hashes
from penstock.data.split.copy_rule import CopyRule, DifferentRows
from penstock.data.table import write_dataset

ROWS = 1_500


def table(kind: str, target: str) -> pa.Table:
    chance = np.random.default_rng(9)
    columns: dict[str, Any] = {
        "id": np.arange(ROWS).astype("U"),
        "word": chance.choice(list("abcd"), ROWS),
        "group": chance.integers(0, 40, ROWS),
        "at": chance.integers(0, 300, ROWS),
    }
    if kind == "measured":
        columns |= {f"m{at}": chance.normal(size=ROWS) for at in range(2)}
        # Some rows are copied, some of them with another target.
        places = np.where(chance.random(ROWS) < 0.1, chance.integers(0, ROWS, ROWS), range(ROWS))
        columns = {name: np.asarray(values)[places] for name, values in columns.items()}
    elif kind == "repeated":
        columns = {"word": columns["word"], "at": columns["at"], "group": columns["group"] % 5}
    number = np.round(chance.normal(size=ROWS), 1)
    columns["y"] = np.where(number > 1, "yes", "no") if target == "classes" else number
    made = pa.table(columns)
    return pa.concat_tables([made, made]) if kind == "twice" else made


def written(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "_dataset.json"
    }


@pytest.mark.parametrize(
    "kind",
    ["twice", *(pytest.param(one, marks=pytest.mark.long) for one in ("measured", "repeated"))],
)
@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("classes", {}),
        ("classes", {"method": "group", "column": "group"}),
        ("number", {"method": "time", "column": "at", "repeats": "together"}),
        ("number", {}),
    ],
)
def test_several_parts_give_what_one_part_gives(
    kind: str,
    target: str,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_dataset(
        table(kind, target).to_batches(max_chunksize=400), output=tmp_path / "d", source="test"
    )

    def made() -> tuple[str, dict[str, bytes]]:
        record = split(
            tmp_path / "d",
            SplitSpec.model_validate(settings),
            target="y",
            task="binary" if target == "classes" else "regression",
            train=tmp_path / "out" / "train",
            holdout=tmp_path / "out" / "holdout",
        )
        files = written(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
        return record.dumps(), files

    one = made()
    for module in (spilled, known_rows, selection):
        monkeypatch.setattr(module, "SLICE", 128)
    monkeypatch.setattr(hashed_table, "_ASKED", 50)
    monkeypatch.setattr(table_hashes, "_COUNTED", 200)
    assert spilled.parts_for(ROWS) > 10

    assert made() == one


@pytest.mark.parametrize("regression", [True, False])
def test_a_part_without_repeats_is_not_held_for_what_it_does_not_ask(regression: bool) -> None:
    """What is asked of each part is held until all parts are read."""
    hashes = np.arange(10, dtype=np.uint64)
    part = DifferentRows(hashes, hashes, hashes, ((hashes, hashes),), np.ones(10, dtype=np.int64))
    rule = CopyRule(regression=regression, setting="auto", rows=10)
    asked = rule.asked(part)
    assert [len(column) for column in asked] == [0] * (3 if regression else 2)
    assert not any(np.shares_memory(column, hashes) or column.base is hashes for column in asked)
