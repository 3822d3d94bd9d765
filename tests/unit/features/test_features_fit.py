"""The transformer: what each column becomes, and that serving gets what training saw."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from penstock.data.table import read_dataset, read_table, write_dataset
from penstock.data.table.frames import to_frame
from penstock.errors import InputError
from penstock.features.fit import fit_features
from penstock.features.spec import FeaturesSpec
from penstock.model import load_trusted
from penstock.records.dataset import Split
from penstock.records.features import Features

ROWS = 400
START = datetime(2024, 11, 1, tzinfo=UTC)


def columns(rows: int = ROWS) -> dict[str, Any]:
    """Every kind of column there is, and every reason to leave one out."""
    random = np.random.default_rng(3)
    words = np.array(["gate", "water", "wheel", "river", "pipe", "dam", "flow", "mill"])
    jobs = random.choice(["clerk", "nurse", "pilot"], rows).tolist()
    jobs[0] = "beekeeper"
    return {
        "row number": list(range(5, rows + 5)),
        "age": [
            None if i % 10 == 0 else int(a) for i, a in enumerate(random.integers(18, 90, rows))
        ],
        "hours-per-week": random.normal(40, 7, rows).tolist(),
        "member": [None if i % 50 == 0 else bool(i % 3) for i in range(rows)],
        "job": [None if i % 8 == 7 else job for i, job in enumerate(jobs)],
        "since": [START + timedelta(hours=31 * i) for i in range(rows)],
        "remark": [" ".join(random.choice(words, 6)) for _ in range(rows)],
        "key": [f"K{i:05d}" for i in range(rows)],
        "empty": pa.nulls(rows, pa.float64()),
        "same": ["x"] * rows,
        "group": [f"g{i % 40}" for i in range(rows)],
        "target": [i % 2 for i in range(rows)],
    }


def dataset(folder: Path, table: dict[str, Any]) -> Path:
    write_dataset([pa.table(table)], output=folder, source="a test")
    return folder


def fit(folder: Path, train: Path, *, target: str = "target", **spec: Any) -> Features:
    split = spec.pop("split", None)
    return fit_features(
        train,
        target=target,
        spec=FeaturesSpec(**spec),
        output=folder / "features",
        report=folder / "features.html",
        split=split,
    )


def matrix(folder: Path, record: Features, rows: Any) -> np.ndarray:
    transformer = load_trusted(folder / "features" / "features.skops")
    return np.asarray(transformer.transform(to_frame(rows, record.inputs())))


def column(record: Features, name: str) -> Any:
    return next(column for column in record.columns if column.name == name)


def output(record: Features, values: np.ndarray, name: str) -> list[float]:
    return list(values[:, record.outputs.index(name)])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Features]:
    folder = tmp_path_factory.mktemp("features")
    train = dataset(folder / "train", columns())
    return folder, fit(folder, train)


def test_every_column_gets_its_kind_and_a_reason(fitted: tuple[Path, Features]) -> None:
    _, record = fitted
    kinds = {c.name: (c.kind, c.reason) for c in record.columns}
    assert "target" not in kinds
    assert {name: kind for name, (kind, _) in kinds.items()} == {
        "row number": "drop",
        "age": "number",
        "hours-per-week": "number",
        "member": "boolean",
        "job": "category",
        "since": "datetime",
        "remark": "text",
        "key": "drop",
        "empty": "drop",
        "same": "drop",
        "group": "category",
    }
    assert "row number" in kinds["row number"][1]
    assert "identifier" in kinds["key"][1]
    assert kinds["empty"][1] == "missing in every row"
    assert kinds["same"][1] == "the same value in every row"


def test_the_record_describes_the_transformer(fitted: tuple[Path, Features]) -> None:
    folder, record = fitted
    assert Features.read(folder / "features" / "features.json") == record
    assert record.dataset == read_dataset(folder / "train").content
    values = matrix(folder, record, read_table(folder / "train"))
    assert values.dtype == np.float64
    assert values.shape == (ROWS, len(record.outputs))
    job = column(record, "job")
    assert {level.value for level in job.levels} == {
        "clerk",
        "nurse",
        "pilot",
        "beekeeper",
        "(missing)",
    }
    # With the default of 0.2 % one row in 400 is not rare; with 1 % it is.
    assert job.rare_levels == 0


def test_values_are_what_their_names_say(fitted: tuple[Path, Features]) -> None:
    folder, record = fitted
    table = columns()
    values = matrix(folder, record, read_table(folder / "train"))
    age = output(record, values, "age")
    assert np.isnan(age[0])
    assert age[1] == table["age"][1]
    assert np.isnan(output(record, values, "member")[0])
    assert output(record, values, "member")[1] == float(table["member"][1])
    assert output(record, values, "job=(missing)")[7] == 1.0
    assert output(record, values, f"job={table['job'][1]}")[1] == 1.0
    since = [START + timedelta(hours=31 * i) for i in range(ROWS)]
    assert output(record, values, "since: weekday") == [float(t.weekday()) for t in since]
    assert output(record, values, "since: hour") == [float(t.hour) for t in since]
    assert output(record, values, "since: day") == [float(t.day) for t in since]
    assert output(record, values, "since: month") == [float(t.month) for t in since]
    assert output(record, values, "since: year") == [float(t.year) for t in since]
    words = values[:, [o.startswith("remark: word") for o in record.outputs]]
    assert np.allclose((words**2).sum(axis=1), 1.0)


def test_rare_and_unseen_levels_share_a_column(tmp_path: Path) -> None:
    train = dataset(tmp_path / "train", columns())
    record = fit(tmp_path, train, rare_share=0.01)
    job = column(record, "job")
    assert (job.rare_levels, job.rare_rows) == (1, 1)
    table = {name: list(values)[:3] for name, values in columns().items() if name != "empty"}
    table["job"] = ["beekeeper", "astronaut", "clerk"]
    values = matrix(tmp_path, record, table)
    assert output(record, values, "job=(rare or unseen)") == [1.0, 1.0, 0.0]


def test_no_more_levels_are_kept_than_allowed(tmp_path: Path) -> None:
    train = dataset(tmp_path / "train", columns())
    record = fit(tmp_path, train, max_levels=10)
    group = column(record, "group")
    assert len(group.levels) == 10
    assert group.rare_levels == 30


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_each_way_of_saying_missing_is_the_same(
    fitted: tuple[Path, Features], missing: object
) -> None:
    folder, record = fitted
    row = {name: list(values)[1:2] for name, values in columns().items()}
    blank = {name: [None] for name in row}
    other = {name: [missing] for name in row}
    as_frame = pd.DataFrame({name: pd.Series(v, dtype=object) for name, v in other.items()})
    expected = matrix(folder, record, blank)
    assert np.isnan(expected[0, record.outputs.index("age")])
    assert np.array_equal(matrix(folder, record, other), expected, equal_nan=True)
    assert np.array_equal(matrix(folder, record, as_frame), expected, equal_nan=True)


def test_the_transformer_itself_takes_any_missing_value(fitted: tuple[Path, Features]) -> None:
    """MLflow's own loader hands rows to the pipeline without `to_frame`."""
    folder, record = fitted
    frame = to_frame(read_table(folder / "train"), record.inputs()).head(3)
    frame["job"] = pd.Series([None, np.nan, pd.NA], dtype=object)
    transformer = load_trusted(folder / "features" / "features.skops")
    values = transformer.transform(frame)
    assert output(record, values, "job=(missing)") == [1.0, 1.0, 1.0]


def test_one_row_gives_what_the_whole_table_gives(fitted: tuple[Path, Features]) -> None:
    folder, record = fitted
    table = read_table(folder / "train")
    whole = matrix(folder, record, table)
    for row in (0, 7, 8):
        alone = matrix(folder, record, table.slice(row, 1).to_pydict())
        assert np.array_equal(alone, whole[row : row + 1], equal_nan=True)


def test_declared_kinds_win(tmp_path: Path) -> None:
    train = dataset(tmp_path / "train", columns())
    kinds = {"age": "category", "hours-per-week": "drop", "key": "text", "row number": "number"}
    record = fit(tmp_path, train, columns=kinds, text_buckets=16)
    assert {name: column(record, name).kind for name in kinds} == kinds
    assert {column(record, name).chosen for name in kinds} == {"declared"}
    assert len(column(record, "key").outputs) == 16
    table = {name: list(values)[:2] for name, values in columns().items()}
    values = matrix(tmp_path, record, table)
    assert output(record, values, "age=(missing)") == [1.0, 0.0]
    assert output(record, values, f"age={table['age'][1]}") == [0.0, 1.0]


def test_rare_levels_are_merged_as_scikit_learn_would(tmp_path: Path) -> None:
    from sklearn.preprocessing import OneHotEncoder

    from penstock.features.transformers import CommonLevels

    random = np.random.default_rng(4)
    for most, share in ((5, 0.02), (3, 0.0), (100, 0.1), (100, 0.0)):
        texts = np.array([f"v{i}" for i in random.zipf(1.6, 400)], dtype=object)
        codes = np.where(random.random(400) < 0.2, np.nan, random.integers(0, 12, 400))
        for rows in (texts[:, None], codes[:, None], np.column_stack([codes, -codes])):
            ours = CommonLevels(rare_share=share, max_levels=most).fit(rows)
            theirs = OneHotEncoder(
                handle_unknown="infrequent_if_exist",
                min_frequency=share or None,
                max_categories=most + 1,
                sparse_output=False,
            ).fit(rows)
            new = rows.copy()
            new[::7] = "new" if rows.dtype == object else 99.0
            for given in (rows, new):
                assert np.array_equal(ours.transform(given), theirs.transform(given))


def test_levels_that_no_feature_uses_are_not_stored(tmp_path: Path) -> None:
    rows = 3000
    table = {
        "shop": [f"shop-{i % 3}" if i % 2 else f"secret-{i}" for i in range(rows)],
        "who": [f"customer-{i // 2}" for i in range(rows)],
        "zip": [10_000 + i // 2 for i in range(rows)],
        "y": [i % 2 for i in range(rows)],
    }
    kinds = {"who": "category", "zip": "category"}
    record = fit(tmp_path, dataset(tmp_path / "train", table), target="y", columns=kinds)
    for name in ("who", "zip"):
        assert column(record, name).kind == "drop"
        assert "fewer than 0.002 of the rows" in column(record, name).reason
    shop = column(record, "shop")
    assert [level.value for level in shop.levels] == ["shop-0", "shop-1", "shop-2"]
    assert (shop.rare_levels, shop.rare_rows) == (1500, 1500)
    held = b"".join(path.read_bytes() for path in (tmp_path / "features").iterdir())
    assert b"shop-1" in held
    assert b"secret-" not in held
    fitted = load_trusted(tmp_path / "features" / "features.skops")
    encoder = fitted.named_transformers_["categories"]["levels"]
    assert [len(levels) for levels in encoder.categories_] == [4]


def test_a_number_that_no_tree_can_hold_is_refused_by_name(tmp_path: Path) -> None:
    table = {"x": [1e99, 1.0] * 30, "z": [0.5, 1.0] * 30, "y": [i % 2 for i in range(60)]}
    train = dataset(tmp_path / "train", table)
    with pytest.raises(InputError, match=r"column 'x': .* 1e\+99.*features.columns: \{x: drop\}"):
        fit(tmp_path, train, target="y")
    assert fit(tmp_path, train, target="y", columns={"x": "drop"}).outputs == ("z",)


def test_minus_zero_is_the_level_zero(tmp_path: Path) -> None:
    table = {"code": [-0.0, 0.0, 1.0, 2.0] * 30, "y": [i % 2 for i in range(120)]}
    train = dataset(tmp_path / "train", table)
    record = fit(tmp_path, train, target="y", columns={"code": "category"})
    levels = [(level.value, level.rows) for level in column(record, "code").levels]
    assert levels == [("0", 60), ("1", 30), ("2", 30)]


def split_by(method: Any, name: str) -> Split:
    return Split(
        method=method, column=name, seed=1, parent="p", train="t", holdout="h", train_rows=2,
        holdout_rows=1, duplicate_rows=0, rows_in_both=0, groups_in_both=0,
    )  # fmt: skip


def test_the_group_and_the_year_of_a_split_are_left_out(tmp_path: Path) -> None:
    train = dataset(tmp_path / "train", columns())
    grouped = fit(tmp_path / "a", train, split=split_by("group", "group"))
    assert column(grouped, "group").kind == "drop"
    assert "split by it" in column(grouped, "group").reason
    timed = fit(tmp_path / "b", train, split=split_by("time", "since"))
    assert "since: year" in grouped.outputs
    assert "since: year" not in timed.outputs
    assert "since: weekday" in timed.outputs


def test_the_time_of_a_split_lends_what_later_rows_share(tmp_path: Path) -> None:
    times = [START + timedelta(hours=9 * i) for i in range(100)]
    table = {"at": times, "x": list(range(50)) * 2, "step": list(range(5, 105))}
    train = dataset(tmp_path / "train", table | {"y": [i % 2 for i in range(100)]})
    by_time = fit(tmp_path / "a", train, target="y", split=split_by("time", "at"))
    assert [o for o in by_time.outputs if o.startswith("at")] == [
        "at: day", "at: weekday", "at: hour",
    ]  # fmt: skip
    assert "come again in later rows are kept: day, weekday, hour" in column(by_time, "at").reason
    by_step = fit(tmp_path / "b", train, target="y", split=split_by("time", "step"))
    assert column(by_step, "step").kind == "drop"
    assert "beyond those seen" in column(by_step, "step").reason
    declared = fit(
        tmp_path / "c",
        train,
        target="y",
        split=split_by("time", "step"),
        columns={"step": "number"},
    )
    assert "step" in declared.outputs


def test_times_that_differ_only_in_minutes_are_left_out(tmp_path: Path) -> None:
    times = [START + timedelta(seconds=i) for i in range(50)]
    table = {"t": times, "x": list(range(25)) * 2, "y": [i % 2 for i in range(50)]}
    record = fit(tmp_path, dataset(tmp_path / "train", table), target="y")
    assert column(record, "t").reason == "no part of its calendar varies"
    assert record.outputs == ("x",)


def test_names_that_could_be_taken_for_one_another(tmp_path: Path) -> None:
    table = {
        "a": ["b_c", "d"] * 20,
        "a_b": ["c", "d"] * 20,
        "with space": [1.5, 2.5] * 20,
        "with-dash <b>": [1, 2] * 20,
        "y": [0, 1] * 20,
    }
    record = fit(tmp_path, dataset(tmp_path / "train", table), target="y")
    values = matrix(tmp_path, record, {name: values[:2] for name, values in table.items()})
    assert values.shape == (2, 6)
    assert "with-dash &lt;b&gt;" in (tmp_path / "features.html").read_text()
    assert "with-dash <b>" not in (tmp_path / "features.html").read_text()


@pytest.mark.parametrize(
    ("change", "spec", "message"),
    [
        ({}, {"target": "income"}, "the target 'income' is not in the table"),
        ({"target": [1] * ROWS}, {}, "the target is constant"),
        ({"target": pa.nulls(ROWS, pa.int64())}, {}, "the target is missing in every row"),
        ({}, {"columns": {"agee": "number"}}, "has no column 'agee'. Did you mean 'age'?"),
        ({}, {"columns": {"target": "number"}}, "without its target has no column 'target'"),
        ({}, {"columns": {"job": "number"}}, "a string column cannot be a number feature"),
        ({}, {"columns": {"since": "category"}}, "a datetime column cannot be a category feature"),
    ],
)
def test_bad_input_is_named_and_nothing_is_left(
    tmp_path: Path, change: dict[str, Any], spec: dict[str, Any], message: str
) -> None:
    train = dataset(tmp_path / "train", columns() | change)
    with pytest.raises(InputError, match=message) as caught:
        fit(tmp_path, train, **spec)
    assert caught.value.where
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_no_usable_column_says_why_of_each(tmp_path: Path) -> None:
    table = {
        "empty": pa.nulls(30, pa.string()),
        "key": [f"k{i}" for i in range(30)],
        "y": [0, 1] * 15,
    }
    with pytest.raises(InputError, match=r"no usable column.*'empty': missing.*'key': an identif"):
        fit(tmp_path, dataset(tmp_path / "train", table), target="y")
    assert not (tmp_path / "features").exists()


def test_an_output_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    train = dataset(tmp_path / "train", columns())
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="already holds files"):
        fit(tmp_path, train)
    assert (tmp_path / "features" / "mine.txt").read_text() == "keep"
    assert not (tmp_path / "features.html").exists()
