"""Columns of the holdout as few levels: which levels, however many values there are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from penstock.data.table import dataset as table
from penstock.data.table import read_dataset
from penstock.gate.levels import OTHER, Levels, crossed, levels_of

LONG = "a long name whose first forty characters are shared by "


def of(make: Any, folder: Any, columns: dict[str, list[Any]], *, levels: int) -> list[Levels]:
    written = make.write(folder, columns)
    # All that is read of a holdout here is where its rows are.
    holdout: Any = SimpleNamespace(folder=written, dataset=read_dataset(written))
    return list(levels_of(holdout, list(columns), levels=levels, where="gate.slices"))


@pytest.mark.parametrize("seed", range(4))
def test_the_commonest_texts_are_levels_and_of_equally_common_ones_the_first(
    make: Any, tmp_path: Any, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    known = [*"zyxäß€𝄞", "", *(f"{LONG}{at}" for at in range(5)), *map(str, range(30))]
    texts = chance.choice(known, 90).tolist()
    (found,) = of(make, tmp_path / "rows", {"text": texts}, levels=6)

    def shown(text: str) -> str:
        return text if len(text) <= 40 else text[:39] + "…"

    order = sorted(set(texts), key=lambda text: (-texts.count(text), shown(text)))
    expected = [f"text = {shown(text)}" for text in order[:6]]
    assert list(found.names) == [*expected, f"text = {OTHER}"]
    rows = np.bincount(found.codes)
    # Of long texts that begin alike any may be the one that counts.
    assert rows[:6].tolist() == [texts.count(text) for text in order[:6]]
    assert rows.sum() == len(texts)


def test_codes_take_a_byte_and_a_column_of_many_values_two(make: Any, tmp_path: Any) -> None:
    number = np.arange(3000)
    rows = {
        "id": [f"u{at}" for at in number],
        "few": (number % 7).tolist(),
        "gaps": [None if at % 3 else "there" for at in number],
    }
    found = of(make, tmp_path / "rows", rows, levels=300)
    assert [one.codes.dtype.itemsize for one in found] == [2, 1, 1]
    many = crossed(found)
    # 301 levels, 7 and 2, of which not all occur: none of these numbers may run over.
    every = {(a, b, c) for a, b, c in zip(*(one.codes.tolist() for one in found), strict=True)}
    assert len(many.names) == len(every)
    assert len(np.unique(many.codes)) == len(every)


def test_of_many_rows_one_column_is_held_at_a_time(
    make: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {name: list(range(50)) for name in "abcde"}
    at_once = of(make, tmp_path / "few", rows, levels=9)
    held: list[int] = []
    whole = table._batches

    def counted(folder: Any, dataset: Any, schema: Any, *given: Any) -> Any:
        held.append(len(schema.names))
        return whole(folder, dataset, schema, *given)

    monkeypatch.setattr(table, "_batches", counted)
    monkeypatch.setattr(table, "_CELLS", 100)
    one_by_one = of(make, tmp_path / "many", rows, levels=9)
    assert held == [2, 2, 1]
    for first, second in zip(at_once, one_by_one, strict=True):
        assert first.names == second.names
        assert np.array_equal(first.codes, second.codes)
