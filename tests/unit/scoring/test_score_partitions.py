"""Rows divided into folders by columns: as Arrow does it, whole after any kill, never too many."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_tables import source_of, written
from serving_process import ROW
from test_score_killed import killed

from penstock.captures.places import LocalPlace
from penstock.data.engine import EngineSpec
from penstock.errors import InputError
from penstock.records.scores import FILE_NAME, Scores
from penstock.scoring.partitions import MISSING, folders_of
from penstock.scoring.score import score

JOBS = ["clerk", None, "a/b = ä", "clerk", ""]
BY = ("job", "member")
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9)
LAST = 1000
"""Stands for the last write, the record."""
OPTIONS: dict[str, Any] = {"keep": ("id", "job", "member", "since"), "on_error": "quarantine"}


def rows(count: int = 11) -> list[dict[str, Any]]:
    """Rows of five folders, of which the third row is refused."""
    found = [
        ROW | {"age": 20 + at, "job": JOBS[at % 5], "member": at % 2 == 0} for at in range(count)
    ]
    return [*found[:2], ROW | {"age": 30.5}, *found[2:]]


def read(out: Path, by: Sequence[str] = BY, form: str = "parquet") -> pa.Table:
    """All rows as Arrow reads such folders, in the order of the ids."""
    kinds = {"job": pa.string(), "member": pa.bool_(), "since": pa.timestamp("us", "UTC")}
    parts = ds.partitioning(pa.schema([(name, kinds[name]) for name in by]), flavor="hive")
    table = ds.dataset(out / "rows", format=form, partitioning=parts).to_table()
    return table.sort_by("id").combine_chunks()


def files_below(folder: Path) -> dict[str, bytes]:
    found = [*(folder / "rows").rglob("*"), *(folder / "refused").rglob("*")]
    return {str(one.relative_to(folder)): one.read_bytes() for one in found if one.is_file()}


def test_folders_hold_the_rows_that_files_hold_for_every_part_size_and_engine(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    plain = score(registered().order(data, tmp_path / "plain", **OPTIONS))
    expected = written(tmp_path / "plain").sort_by("id")
    made = {
        "one": {"partition_by": BY},
        "parts": {"partition_by": BY, "part_rows": 3},
        "engine": {"partition_by": BY, "part_rows": 3, "engine": EngineSpec(workers=2)},
        "times": {"partition_by": ("since",), "part_rows": 2},
    }
    for name, changes in made.items():
        scores = score(registered().order(data, tmp_path / name, **OPTIONS, **changes))
        by = changes["partition_by"]
        found = read(tmp_path / name, by)
        assert found.select(expected.schema.names).equals(expected.combine_chunks()), name
        assert scores.output_content == plain.output_content
        assert scores.input_content == plain.input_content
        assert scores.partition_by == by
        listed = [one for part in scores.parts for one in part.files]
        assert {one.file for one in listed} == {
            name for name in files_below(tmp_path / name) if name.startswith("rows/")
        }
        assert sum(one.rows for one in listed) == scores.scored
    assert files_below(tmp_path / "parts") == files_below(tmp_path / "engine")
    assert "rows/job=a%2Fb%20%3D%20%C3%A4/member=true/part-00000.parquet" in files_below(
        tmp_path / "one"
    )


@settings(max_examples=40)
@given(
    values=st.lists(
        st.tuples(
            st.one_of(st.none(), TEXTS),
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2)),
        ),
        max_size=30,
    )
)
def test_folders_are_those_of_arrow(values: list[tuple[str | None, int | None]]) -> None:
    texts = pa.array([text for text, _ in values], pa.string())
    numbers = pa.array([number for _, number in values], pa.int64())
    table = pa.table({"text": texts, "number": numbers, "row": range(len(values))})
    found = {
        path: places.tolist() for path, places in folders_of(table, ["text", "number"]).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        pq.write_to_dataset(table, folder, partition_cols=["text", "number"])
        expected = {
            str(path.parent.relative_to(folder)): sorted(
                pq.read_table(path, partitioning=None)["row"].to_pylist()
            )
            for path in Path(folder).rglob("*.parquet")
        }
    assert found == expected


@pytest.mark.parametrize(
    ("torn", "writes"),
    [
        # A file and the note of the first part; of the second its last.
        pytest.param(False, [1, 4, 7], id="of-the-parts"),
        # The plan; another file; the end.
        pytest.param(False, [0, 2, 8, LAST], id="some-more", marks=pytest.mark.long),
        pytest.param(False, range(100), id="every", marks=pytest.mark.exhaustive),
        pytest.param(True, range(100), id="every-torn", marks=pytest.mark.exhaustive),
    ],
)
def test_at_every_write(
    torn: bool, writes: Sequence[int], registered: Callable[..., Any], tmp_path: Path
) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    options = OPTIONS | {"part_rows": 3, "partition_by": BY}
    whole = score(registered().order(data, tmp_path / "whole", **options))
    expected = files_below(tmp_path / "whole")
    ended = 0
    total = len(expected) + len(whole.parts) + 2
    for write in writes:
        at = total - 1 if write == LAST else write
        order = registered().order(data, tmp_path / f"out{at}", **options)
        if not killed(lambda o=order: score(o), LocalPlace, "write", at=at, torn=torn):
            break
        ended += 1
        if at:  # The plan is there.
            # What no part lists, as one of other rows that was killed, does not stay.
            stray = tmp_path / f"out{at}/rows/job=gone/member=true/part-00000.parquet"
            stray.parent.mkdir(parents=True)
            stray.write_bytes(b"torn")
        assert score(order).output_content == whole.output_content
        assert files_below(tmp_path / f"out{at}") == expected
    assert ended == (total if len(writes) == 100 else len(writes))


def test_a_file_that_is_torn_in_its_folder_is_scored_again(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    options = OPTIONS | {"part_rows": 3, "partition_by": BY}
    score(registered().order(data, tmp_path / "whole", **options))
    expected = files_below(tmp_path / "whole")
    order = registered().order(data, tmp_path / "out", **options)
    assert killed(lambda: score(order), LocalPlace, "write", at=10, torn=False)
    found = files_below(tmp_path / "out")
    torn = tmp_path / "out" / min(found)
    torn.write_bytes(torn.read_bytes()[:-1])
    score(order)
    assert files_below(tmp_path / "out") == expected


def test_csv_has_no_column_that_is_a_folder(registered: Callable[..., Any], tmp_path: Path) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    out = tmp_path / "out"
    score(registered().order(data, out, **OPTIONS, partition_by=("prediction",), form="csv"))
    folders = Counter(path.parent.name for path in (out / "rows").rglob("*.csv"))
    classes = {path.partition("=")[0] for path in folders}
    assert classes == {"prediction"}
    first = next((out / "rows").rglob("*.csv")).read_text().splitlines()[0]
    assert first.startswith('"id","job","member","since","probability_')


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partition_by": ("nothing",)}, "nothing"),
        ({"partition_by": ("hours per-week",), "keep": ("hours per-week",)}, "fractions"),
        ({"partition_by": ("id", "job", "member", "since")}, "at most 3 different columns"),
        ({"partition_by": ("job", "job")}, "at most 3 different columns"),
        ({"out": "sqlite:///{}/scores.db", "run": "today"}, "a database's table has no folders"),
    ],
)
def test_what_folders_cannot_hold_leaves_nothing(
    changes: dict[str, Any], words: str, registered: Callable[..., Any], tmp_path: Path
) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    given = OPTIONS | {"partition_by": BY} | changes
    out = given.pop("out", str(tmp_path / "out")).format(tmp_path)
    with pytest.raises(InputError, match=words):
        score(registered().order(data, out, **given))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl"]


def test_too_many_folders_leave_the_parts_before_them(
    registered: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.scoring.destination.MOST_FOLDERS", 8)
    data = source_of("jsonl", rows(), tmp_path)
    order = registered().order(data, tmp_path / "out", **OPTIONS, partition_by=("id",), part_rows=3)
    for _ in range(2):  # Also where the first parts are there already.
        with pytest.raises(InputError, match="the first 12 rows have 11 different values of id"):
            score(order)
        assert len(files_below(tmp_path / "out")) == 9
    assert not (tmp_path / "out" / FILE_NAME).exists()


def test_values_that_name_no_folder_are_refused(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    for at, (job, words) in enumerate(
        (
            (MISSING, "stands for a missing value"),
            ("ä" * 50, "too long to name a folder"),
            ("a\0b", "readers cut at its character 0"),
        )
    ):
        data = source_of("jsonl", [ROW, ROW | {"job": job}], tmp_path)
        order = registered().order(
            data, tmp_path / f"out{at}", keep=("job",), partition_by=("job",)
        )
        with pytest.raises(InputError, match=words):
            score(order)
        assert not (tmp_path / f"out{at}/rows").exists()


def test_a_file_system_that_knows_no_capitals_does_not_mix_rows(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "progress").mkdir(parents=True)
    # What such a file system shows: the same file under both names.
    (out / "PROGRESS").symlink_to("progress")
    data = source_of("jsonl", [ROW | {"job": "NY"}, ROW | {"job": "ny"}], tmp_path)
    order = registered().order(data, out, keep=("job",), partition_by=("job",))
    with pytest.raises(InputError, match="differ only in capital letters"):
        score(order)
    assert not (out / "rows").exists()


def test_another_division_is_another_scoring(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    data = source_of("jsonl", rows(), tmp_path)
    options = OPTIONS | {"part_rows": 3}
    order = registered().order(data, tmp_path / "out", **options, partition_by=BY)
    assert killed(lambda: score(order), LocalPlace, "write", at=6, torn=False)
    with pytest.raises(InputError, match="another partition_by"):
        score(registered().order(data, tmp_path / "out", **options))
    score(order)
    assert Scores.read(tmp_path / "out" / FILE_NAME).partition_by == BY
