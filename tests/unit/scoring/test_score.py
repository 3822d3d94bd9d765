"""Every row of a table is answered as its server would answer it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scored_tables import source_of, written
from serving_process import ROW, Server

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.errors import InputError
from penstock.records.dataset import Column
from penstock.records.model import FILE_NAME as MODEL
from penstock.records.model import Model
from penstock.records.scores import FILE_NAME, Scores
from penstock.scoring.answers import Answerer
from penstock.scoring.score import score

READING = {"na_values": ["", "NA"], "strip": True, "formats": []}


@pytest.fixture
def server(registered: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(*arguments: Any, **options: Any) -> Server:
        version = registered(*arguments, **options)
        running.append(Server(version.folder, tmp_path / "log", *version.options))
        return running[-1].wait()

    yield start
    for one in running:
        one.client.close()
        one.process.stop()


@pytest.fixture(scope="module")
def reading(registered: Callable[..., Any]) -> Any:
    """A version that knows how the texts of its table were read."""
    return registered(reading=READING)


def rows_of(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with what a table may hold: missing values, a level that nobody saw, odd numbers."""
    odd = [
        dict.fromkeys(ROW),
        ROW | {"job": "a level nobody saw", "hours per-week": -0.0},
        ROW | {"job": "ÄÖ ✓", "age": 2**53 + 1, "hours per-week": 1e-300},
        ROW | {"since": "1969-12-31T23:59:59.999999Z", "member": None},
    ]
    return [*instances, *odd]


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("task", "onnx"),
    [
        ("binary", True),
        ("multiclass", False),
        *(pytest.param("regression", onnx, marks=LONG) for onnx in (True, False)),
        pytest.param("binary", False, marks=LONG),
        pytest.param("multiclass", True, marks=LONG),
    ],
)
def test_the_answers_are_the_servers_to_the_bit(
    task: str,
    onnx: bool,
    registered: Callable[..., Any],
    server: Callable[..., Server],
    many_instances: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    rows = rows_of(many_instances)
    version = registered(task, onnx=onnx)
    data = source_of("parquet", rows, tmp_path)
    scores = score(version.order(data, tmp_path / "out", keep=("id",), part_rows=200))
    asked = server(task, onnx=onnx)
    answered = asked.predict(*rows).json()
    alone = [asked.predict(row).json() for row in rows[-6:]]
    table = written(tmp_path / "out").to_pydict()
    assert table["id"] == [f"r{at:04}" for at in range(len(rows))]
    assert table["prediction"] == answered["predictions"]
    assert table["prediction"][-6:] == [one["predictions"][0] for one in alone]
    if task != "regression":
        names = [f"probability_{label}" for label in answered["classes"]]
        pairs = [list(pair) for pair in zip(*(table[name] for name in names), strict=True)]
        assert pairs == answered["probabilities"]
        assert pairs[-6:] == [one["probabilities"][0] for one in alone]
    assert (scores.rows, scores.scored, scores.refused_rows) == (len(rows), len(rows), 0)
    assert scores.version.runtime == ("onnx" if onnx else "sklearn")
    assert (scores.version.uri, scores.version.admitted) == ("models:/adult/1", "champion")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "sqlite"])
@pytest.mark.parametrize("texts", [True, pytest.param(False, marks=LONG)])
def test_every_kind_of_source_gives_the_same(
    kind: str,
    texts: bool,
    registered: Callable[..., Any],
    reading: Any,
    many_instances: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    rows = rows_of(many_instances)
    version = reading if texts else registered()
    results = []
    for which in ("parquet", kind):
        data = source_of(which, rows, tmp_path)
        out = tmp_path / which
        results.append(score(version.order(data, out, keep=("id",))))
        assert Scores.read(out / FILE_NAME) == results[-1]
    first, second = results
    assert second.output_content == first.output_content
    assert second.input_content == first.input_content


def test_its_digests_are_those_of_the_same_rows_ingested(
    registered: Callable[..., Any], many_instances: list[dict[str, Any]], tmp_path: Path
) -> None:
    data = source_of("parquet", many_instances, tmp_path)
    scores = score(registered().order(data, tmp_path / "out", part_rows=123))
    again = ingest(data.model_copy(update={"exclude": ("id",)}), output=tmp_path / "in")
    rows = ingest(SourceSpec(uri=str(tmp_path / "out" / "rows")), output=tmp_path / "rows")
    assert scores.input_content == again.content
    assert scores.output_content == rows.content
    assert len(scores.parts) == 5


def bad(kind: str) -> list[dict[str, Any]]:
    """Rows that the server refuses, between good ones."""
    return [
        ROW,
        ROW | {"hours per-week": "many"},
        ROW | {"age": 30.5},
        ROW,
        ROW | {"since": "yesterday"},
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_row_that_the_server_refuses_is_set_aside_with_its_words(
    kind: str, registered: Callable[..., Any], server: Callable[..., Server], tmp_path: Path
) -> None:
    rows = bad(kind)
    lines = [{"id": at} | row for at, row in enumerate(rows)]
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        names = ",".join(["id", *ROW])
        path.write_text(
            "\n".join([names, *(",".join(map(str, line.values())) for line in lines)]) + "\n"
        )
    version = registered()
    with pytest.raises(InputError, match=r"line 3?2?, column 'hours per-week'.*a number.*many"):
        score(version.order(path, tmp_path / "failed"))
    assert not (tmp_path / "failed" / FILE_NAME).exists()
    out = tmp_path / "out"
    scores = score(version.order(path, out, keep=("id",), on_error="quarantine"))
    assert (scores.rows, scores.scored) == (5, 2)
    assert {each.column: each.rows for each in scores.refused} == {
        "age": 1, "hours per-week": 1, "since": 1
    }  # fmt: skip
    assert [str(one) for one in written(out).to_pydict()["id"]] == ["0", "3"]
    refused = [json.loads(line) for line in (out / "refused/part-00000.jsonl").open()]
    assert [one["row"] for one in refused] == [2, 3, 5]
    asked = server()
    for one in refused:
        answer = asked.predict(rows[one["row"] - 1])
        assert answer.status_code == 400
        if kind == "jsonl":
            assert one["reason"] in answer.json()["error"]
        assert one["where"].startswith(f"{path}: line ")


def test_a_level_that_nobody_saw_is_refused_where_the_server_would(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    levels = [{"column": "job", "values": ["clerk", "nurse", "pilot"]}]
    version = registered(levels=levels)
    data = source_of("parquet", [ROW, ROW | {"job": "diver"}], tmp_path)
    order = version.order(data, tmp_path / "out", unseen="reject", on_error="quarantine")
    scores = score(order)
    assert (scores.scored, scores.refused[0].examples[0].row) == (1, 2)
    assert '"diver" is not a value' in scores.refused[0].examples[0].reason


def test_explanations_are_the_servers(
    registered: Callable[..., Any], server: Callable[..., Server], tmp_path: Path
) -> None:
    rows = [ROW, ROW | {"job": None, "hours per-week": 20.0}]
    data = source_of("parquet", rows, tmp_path)
    for task in ("binary", "multiclass"):
        out = tmp_path / task
        score(registered(task).order(data, out, explain=True))
        table = written(out).to_pydict()
        asked = server(task)
        for at, row in enumerate(rows):
            body = {"instances": [row]}
            found = asked.client.post("/v1/models/adult:explain", json=body).json()
            assert table["shap_base"][at] == found["base"]
            for one in found["explanations"]:
                assert table[f"shap_{one['column']}"][at] == one["contribution"]


def test_what_is_explained_has_one_name_each(
    registered: Callable[..., Any],
) -> None:
    """shap_base is what a row is compared with: a column `base` would shift all that follow."""
    version = registered()
    record = Model.read(version.folder / MODEL)
    columns = (Column(name="base", type="number"), *record.columns)
    # No released model has such a column here, and nothing is computed.
    scorer: Any = SimpleNamespace(record=record.model_copy(update={"columns": columns}))
    explainer: Any = object()
    with pytest.raises(InputError, match="same name: 'shap_base'"):
        Answerer(scorer, keep=(), explainer=explainer)
    Answerer(scorer, keep=())


def test_a_column_that_is_kept_twice_is_kept_once(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    data = source_of("parquet", [ROW], tmp_path)
    score(registered().order(data, tmp_path / "out", keep=("id", "id")))
    assert written(tmp_path / "out").column_names[:2] == ["id", "prediction"]


@pytest.mark.parametrize("out", ["out", "sqlite"])
def test_a_refused_row_is_written_whatever_it_holds(
    out: str, registered: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [ROW, ROW | {"age": 2**70}, ROW | {"job": "\ud800"}, ROW | {"job": {"a": [2**64]}}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    address = f"sqlite:///{tmp_path}/out.db" if out == "sqlite" else str(tmp_path / out)
    scores = score(registered().order(path, address, run="r", on_error="quarantine"))
    assert (scores.scored, scores.refused_rows) == (1, 3)
    if out == "out":
        refused = [json.loads(line) for line in (tmp_path / "out/refused/part-00000.jsonl").open()]
        assert [one["values"]["age"] for one in refused[:2]] == [str(2**70), ROW["age"]]
        assert refused[1]["values"]["job"] == "\\ud800"


def test_a_column_that_is_kept_has_one_type(registered: Callable[..., Any], tmp_path: Path) -> None:
    """What SQLite holds in a column may be of another type where nobody has looked yet."""
    spec = source_of("sqlite", [ROW], tmp_path)
    connection = sqlite3.connect(tmp_path / "rows.db")
    numbers = ", ".join(['"hours per-week"', "member", "job", "since"])
    connection.execute("CREATE TABLE many (id, age BIGINT, " + numbers + ")")
    values = tuple(ROW.values())
    rows = ((at if at < 19_999 else 0.5, *values) for at in range(20_000))
    connection.executemany("INSERT INTO many VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    spec = spec.model_copy(update={"query": "SELECT * FROM many ORDER BY rowid"})
    with pytest.raises(InputError, match="'id', which is kept, was integer at first and is number"):
        score(registered().order(spec, tmp_path / "out", keep=("id",)))


def test_times_beyond_the_calendar_are_refused(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    table = source_of("parquet", [ROW, ROW], tmp_path)
    rows = pq.read_table(table.uri)
    at = rows.schema.get_field_index("since")
    far = pa.array([0, 300_000_000_000_000_000], pa.int64()).cast(pa.timestamp("us", "UTC"))
    pq.write_table(rows.set_column(at, "since", far), table.uri)
    order = registered().order(
        table, tmp_path / "out", on_error="quarantine", capture=str(tmp_path / "captures")
    )
    scores = score(order)
    assert (scores.scored, scores.refused[0].column) == (1, "since")


def test_white_space_in_csv_counts_where_it_does_for_the_server(
    registered: Callable[..., Any], server: Callable[..., Server], tmp_path: Path
) -> None:
    """Arrow's parser would take " 30" for 30; the server refuses it of a model made of Parquet."""
    path = tmp_path / "rows.csv"
    lines = [",".join(ROW), "31,41.5,true,pilot,2026-01-01", '" 30",41.5,true,pilot,2026-01-01']
    path.write_text("\n".join(lines) + "\n")
    scores = score(registered().order(path, tmp_path / "out", on_error="quarantine"))
    assert (scores.scored, scores.refused[0].column) == (1, "age")
    body = "\n".join([lines[0], lines[2]]) + "\n"
    headers = {"Content-Type": "text/csv"}
    answer = server().client.post("/invocations", content=body, headers=headers)
    assert answer.status_code == 400


def test_what_cannot_be_scored_is_said(registered: Callable[..., Any], tmp_path: Path) -> None:
    version = registered()
    (tmp_path / "less.csv").write_text("age,member,job,since\n1,true,pilot,2020-01-01\n")
    with pytest.raises(InputError, match="hours per-week"):
        score(version.order(tmp_path / "less.csv", tmp_path / "out"))
    data = source_of("parquet", [ROW], tmp_path)
    with pytest.raises(InputError, match="no column 'nobody'"):
        score(version.order(data, tmp_path / "a", keep=("nobody",)))
    score(version.order(data, tmp_path / "b"))
    with pytest.raises(InputError, match="whole is there already"):
        score(version.order(data, tmp_path / "b"))
