"""Features do not depend on how the rows are cut and ordered, nor is the whole table ever held."""

from __future__ import annotations

import copy
import itertools
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from engine_work import Killed
from engines import engines as engines
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from penstock.data.engine import Each, here
from penstock.data.table import read_dataset, write_dataset
from penstock.data.table import writer as dataset_writer
from penstock.data.table.frames import to_frame
from penstock.features.column_states import CalendarParts, Numbered
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.features.transformers import CommonLevels, MissingLevel
from penstock.model import load_trusted
from penstock.quality.states.base import Rows, State
from penstock.quality.states.levels import LevelBins, LevelCounts
from penstock.quality.states.words import Words
from penstock.records.dataset import Column
from penstock.records.features import Features

START = datetime(2024, 11, 1, tzinfo=UTC)
SPEC = FeaturesSpec(
    columns={"code": "category", "flag": "category"}, rare_share=0.03, max_levels=4, text_buckets=16
)


def table(rows: int, seed: int) -> pa.Table:
    chance = random.Random(seed)

    def some(values: list[Any]) -> Any:
        return chance.choice(values)

    levels = [f"level {i // 3}" for i in range(90)] + ["(missing)", "", "é\u2003x"]
    return pa.table(
        {
            "number": chance.sample(range(5, rows + 40), rows),
            "x": [some([None, 0.0, -0.0, 1.5, -2.5]) for _ in range(rows)],
            "code": pa.array([some([None, 0.0, -0.0, 1.0, 1.0, 7.5]) for _ in range(rows)]),
            "flag": [some([None, True, True, False]) for _ in range(rows)],
            "kind": [some([None, *levels]) for _ in range(rows)],
            "remark": [" ".join(str(some([*range(50)])) for _ in range(6)) for _ in range(rows)],
            "at": [
                some([None, START + timedelta(days=chance.randint(0, 40))]) for _ in range(rows)
            ],
            "still": [START] * rows,
            "y": [i % 2 for i in range(rows)],
        }
    )


def fitted(folder: Path, batches: list[pa.Table], each: Each = here) -> tuple[Features, Any]:
    write_dataset(batches, output=folder / "train", source="a test")
    record = fit_features(
        folder / "train",
        target="y",
        spec=SPEC,
        output=folder / "features",
        report=folder / "page",
        each=each,
    )
    return record, load_trusted(folder / "features" / "features.skops")


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.data())
def test_features_are_the_same_for_any_cut_and_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = table(150, seed=data.draw(st.integers(0, 1000)))
    first, transformer = fitted(tmp_path_factory.mktemp("whole"), [whole])
    order = data.draw(st.permutations(range(150)))
    mixed = whole.take(order)
    step, rows_of_a_file = data.draw(st.integers(5, 150)), data.draw(st.integers(1, 150))
    shuffled = random.Random(data.draw(st.integers(0, 99)))

    def each(work: Any, parts: Any) -> Any:
        for part in shuffled.sample(list(parts), len(parts)):
            yield work([part])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset_writer, "PART_ROWS", rows_of_a_file)
        patch.setattr(dataset_writer, "GROUP_ROWS", step)
        pieces = [mixed.slice(at, step) for at in range(0, 150, step)]
        other, again = fitted(tmp_path_factory.mktemp("cut"), pieces, each=each)
    # With it the digest of the file.
    assert first == other
    frame = to_frame(whole, first.inputs())
    assert np.array_equal(transformer.transform(frame), again.transform(frame), equal_nan=True)


# Starting Dask costs seconds: a validation on it stands for all in `make test`.
@pytest.mark.long
@pytest.mark.parametrize("name", ["processes", pytest.param("dask", marks=pytest.mark.long)])
def test_features_are_the_same_for_every_engine_and_when_a_worker_is_killed(
    engines: dict[str, Each], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(dataset_writer, "GROUP_ROWS", 10)
    whole = table(150, seed=5)
    pieces = [whole.slice(at, 10) for at in range(0, 150, 10)]
    marker = tmp_path / "killed"

    def each(work: Any, parts: Any) -> Any:
        return engines[name](Killed(work, marker), parts)

    first, transformer = fitted(tmp_path / "here", pieces)
    other, again = fitted(tmp_path / name, pieces, each=each)
    assert marker.exists()
    assert first == other
    frame = to_frame(whole, first.inputs())
    assert np.array_equal(transformer.transform(frame), again.transform(frame), equal_nan=True)


def test_counted_levels_are_those_that_the_encoder_counts_itself(tmp_path: Path) -> None:
    rows = table(300, seed=3)
    record, transformer = fitted(tmp_path, [rows])
    texts = MissingLevel().fit_transform(to_frame(rows, [Column(name="kind", type="string")]))
    numbers = to_frame(
        rows, [Column(name="code", type="number"), Column(name="flag", type="boolean")]
    )
    encoders = (
        transformer.named_transformers_["categories"]["levels"],
        transformer.named_transformers_["codes"],
    )
    for ours, given_rows in zip(encoders, (texts, numbers), strict=True):
        plain = CommonLevels(rare_share=0.03, max_levels=4).fit(given_rows)
        for one, other in zip(ours.categories_, plain.categories_, strict=True):
            assert [str(level) for level in one] == [str(level) for level in other]
        assert np.array_equal(ours.transform(given_rows), plain.transform(given_rows))
    kind = next(column for column in record.columns if column.name == "kind")
    counts = Counter("(missing)" if v is None else v for v in rows["kind"].to_pylist())
    assert sum(level.rows for level in kind.levels) + kind.rare_rows == 300
    assert all(counts[level.value] == level.rows for level in kind.levels)
    assert kind.rare_levels == len(counts) - len(kind.levels)


def test_a_column_of_very_many_values_keeps_its_common_ones_exactly(tmp_path: Path) -> None:
    common = ["often"] * 3000 + ["sometimes"] * 900 + [None] * 100
    who = [f"customer-{i}" for i in range(20_000)] + common * 4
    rows = pa.table({"who": who, "y": [i % 2 for i in range(len(who))]})
    write_dataset([rows], output=tmp_path / "train", source="a test")
    assert next(iter(read_dataset(tmp_path / "train").columns)).profile.distinct > 10_000
    record = fit_features(
        tmp_path / "train",
        target="y",
        spec=FeaturesSpec(rare_share=0.005),
        output=tmp_path / "features",
        report=tmp_path / "page",
    )
    column = record.columns[0]
    assert [(level.value, level.rows) for level in column.levels] == [
        ("often", 12_000),
        ("sometimes", 3_600),
        ("(missing)", 400),
    ]
    assert column.rare_rows == 20_000
    assert column.rare_levels == pytest.approx(20_000, rel=0.04)
    assert "about" in column.reason
    assert (tmp_path / "features" / "features.skops").stat().st_size < 100_000


def merged(begin: Any, rows: pa.Table, chance: random.Random) -> Any:
    """Return what a state finds of rows that are cut, spread over states, and merged anyhow."""
    state: State | None = begin()
    while state is not None:
        parts = [copy.deepcopy(state) for _ in range(3)]
        cuts = sorted({0, *(chance.randrange(rows.num_rows) for _ in range(6)), rows.num_rows})
        for start, end in itertools.pairwise(cuts):
            batch = rows.slice(start, end - start).combine_chunks().to_batches()[0]
            chance.choice(parts).update(Rows(batch, start))
        chance.shuffle(parts)
        last = parts[0]
        for part in parts[1:]:
            last.merge(part)
        state = last.follow_up()
    return last.finish()


@pytest.mark.parametrize(
    "begin",
    [
        lambda: LevelBins(Column(name="kind", type="string"), 0.03),
        lambda: LevelCounts(Column(name="code", type="number")),
        lambda: LevelCounts(Column(name="flag", type="boolean")),
        lambda: Words("kind"),
        lambda: CalendarParts("at"),
        lambda: Numbered("number", 5, 340),
    ],
)
def test_states_merge_to_one_result(begin: Any) -> None:
    rows = table(300, seed=9)
    chance = random.Random(2)
    results = [merged(begin, rows, chance) for _ in range(4)]
    assert all(result == results[0] for result in results)


def test_words_are_what_python_takes_for_words() -> None:
    texts = ["", " ", "a b", "é\u2003x\u00a0y", "one\n\ttwo", "日本 語", None]
    state = Words("t")
    state.update(Rows(pa.record_batch({"t": pa.array(texts)}), 0))
    assert (state.texts, state.words) == (6, sum(len(t.split()) for t in texts if t is not None))


def test_a_number_that_two_rows_share_is_no_row_number() -> None:
    for values, alone in (([5, 6, 7, 9], True), ([5, 6, 6, 9], False)):
        state = Numbered("n", 5, 9)
        state.update(Rows(pa.record_batch({"n": values}), 0))
        assert state.finish() is alone
