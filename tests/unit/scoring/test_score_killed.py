"""A scoring that is killed at any write goes on behind the parts that are whole."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from needs import missing
from postgresql_server import PASSWORD, connect, programs, server
from scored_tables import source_of, written
from serving_process import ROW

from penstock.captures.places import LocalPlace
from penstock.captures.reader import read_window
from penstock.errors import InputError, IntegrityError, NotApprovedError
from penstock.records.dataset import Column
from penstock.records.scores import Scores
from penstock.registry import versions
from penstock.scoring import sql_sessions
from penstock.scoring.score import score
from penstock.scoring.sql_destination import SqlDestination
from penstock.scoring.step import score_once

ROWS = 5


def table() -> list[dict[str, Any]]:
    """Rows for three parts, the third of which the server refuses."""
    rows = [ROW | {"age": 20 + at} for at in range(ROWS)]
    return [*rows[:2], ROW | {"age": 30.5}, *rows[2:]]


def killed(action: Callable[[], Any], kind: type, name: str, *, at: int, torn: bool) -> bool:
    """Do something in a process that is killed at one of the calls of a method.

    Args:
        action: What to do.
        kind: The class of the method.
        name: The method.
        at: Which of its calls, counted from 0.
        torn: Half of what is written is there under its own name, as a careless store leaves it.

    Returns:
        Whether it was killed: it may have ended before.
    """
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    original, calls = getattr(kind, name), iter(range(1000))

    def dying(self: Any, *arguments: Any) -> Any:
        if next(calls) == at:
            if torn and arguments[0] in ("rows", "refused"):
                folder, leaf, data = arguments
                path = self.root / folder / leaf
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *arguments)

    setattr(kind, name, dying)
    try:
        action()
    finally:
        os._exit(0)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in ("rows", "refused")
        for path in sorted((folder / part).iterdir())
    }


@pytest.mark.parametrize(
    ("torn", "writes"),
    [
        # Rows and note of the second part.
        pytest.param(False, [7, 9], id="rows-and-note"),
        # The plan; segment, manifest and refused row of the second part; both ends.
        pytest.param(False, [0, 5, 6, 8, 14, 15], id="of-each-other-kind", marks=pytest.mark.long),
        pytest.param(True, [7, 8], id="torn", marks=pytest.mark.long),
        pytest.param(False, range(100), id="every", marks=pytest.mark.exhaustive),
        pytest.param(True, range(100), id="every-torn", marks=pytest.mark.exhaustive),
    ],
)
def test_at_every_write_of_a_folder(
    torn: bool, writes: Sequence[int], registered: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"keep": ("id",), "on_error": "quarantine", "part_rows": 2}
    data = source_of("jsonl", table(), tmp_path)
    whole = score(registered().order(data, tmp_path / "whole", **options))
    expected = files_of(tmp_path / "whole")
    assert (whole.scored, len(whole.parts), len(expected)) == (ROWS, 3, 4)
    ended = 0
    for at in writes:
        out, captures = tmp_path / f"out{at}", tmp_path / f"captures{at}"
        order = registered().order(data, out, capture=str(captures), **options)
        if not killed(lambda o=order: score(o), LocalPlace, "write", at=at, torn=torn):
            break
        ended += 1
        scores = score(order)
        assert files_of(out) == expected
        assert scores.output_content == whole.output_content
        assert scores.input_content == whole.input_content
        found = read_window(captures, after=None)
        ids = found.table["request_id"].to_pylist()
        assert sorted(int(one.rpartition("-")[2]) for one in ids) == [1, 2, 4, 5, 6]
        assert found.lost == 0
    assert ended == min(len(writes), 16), "each of these writes was the last one once"


def test_a_source_that_has_changed_is_found(registered: Callable[..., Any], tmp_path: Path) -> None:
    data = source_of("jsonl", table(), tmp_path)
    options = {"on_error": "quarantine", "part_rows": 2}
    order = registered().order(data, tmp_path / "out", **options)
    assert killed(lambda: score(order), LocalPlace, "write", at=6, torn=False)
    source_of("jsonl", [ROW, *table()[1:]], tmp_path)
    with pytest.raises(InputError, match=r"other rows than when part 0 was scored \(rows 1 to 2\)"):
        score(order)
    source_of("jsonl", table(), tmp_path)
    with pytest.raises(InputError, match="another part_rows: 2, now 3"):
        score(registered().order(data, tmp_path / "out", **options | {"part_rows": 3}))
    assert score(order).scored == ROWS


def test_a_step_that_is_tried_again_when_all_is_whole_hands_on_its_record(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    """Its pod may be killed between the record at the destination and the step's own output."""
    data = source_of("jsonl", table()[:2], tmp_path)
    given = {"source": {"uri": data.uri}, "destination": str(tmp_path / "out")}
    store = registered().store
    found = [
        score_once("adult", scoring=given, tracking_uri=store, run="r", record=tmp_path / name)
        for name in ("first", "second")
    ]
    assert found[0] == found[1] == Scores.read(tmp_path / "second")
    with pytest.raises(InputError, match="whole is there already"):
        score_once(
            "adult", scoring=given | {"version": "1"}, tracking_uri=store, run="r",
            record=tmp_path / "other",
        )  # fmt: skip
    with pytest.raises(InputError, match="names no file"):
        score(registered().order(data, "sqlite:///:memory:", run="r"))


def test_it_goes_on_with_the_files_that_it_began_with(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    order = registered().order(
        source_of("jsonl", table(), tmp_path), tmp_path / "out", on_error="quarantine", part_rows=2
    )
    assert killed(lambda: score(order), LocalPlace, "write", at=4, torn=False)
    plan = tmp_path / "out/progress/plan.json"
    plan.write_text(plan.read_text().replace('"runtime": "onnx"', '"runtime": "sklearn"'))
    with pytest.raises(IntegrityError, match=r"begun with runtime sklearn, .* has onnx now"):
        score(order)


def test_it_goes_on_with_the_version_that_it_began_with(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    version = registered(levels=None)
    data = source_of("jsonl", table(), tmp_path)
    order = version.order(data, tmp_path / "out", on_error="quarantine", part_rows=2)
    assert killed(lambda: score(order), LocalPlace, "write", at=4, torn=False)
    client = MlflowClient(tracking_uri=version.store, registry_uri=version.store)
    client.set_registered_model_alias("adult", "champion", "2")
    client.set_registered_model_alias("adult", "previous", "1")
    client.set_model_version_tag("adult", "1", versions.ROLLED_BACK, "loss rose")
    with pytest.raises(NotApprovedError, match="rolled back"):
        score(replace(order, unapproved=True))
    client.delete_model_version_tag("adult", "1", versions.ROLLED_BACK)
    scores = score(order)
    assert (scores.version.uri, scores.version.asked) == (
        "models:/adult/1", "models:/adult@champion"
    )  # fmt: skip
    assert written(tmp_path / "out").num_rows == ROWS


STATEMENTS = {"execute": 9, "append": 4, "commit": 7}
"""How often a scoring in three parts calls each method of a session."""


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("duckdb", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("method", "calls"),
    [
        # The plan, and of the second part its refused row, its note and its end; the record.
        pytest.param("execute", [2, 6], id="execute"),
        pytest.param("append", [2], id="append"),
        pytest.param("commit", [4, 6], id="commit"),
        *(
            pytest.param(method, range(100), id=f"every-{method}", marks=pytest.mark.exhaustive)
            for method in STATEMENTS
        ),
    ],
)
def test_at_every_statement_of_a_database(
    kind: str, method: str, calls: Sequence[int], registered: Callable[..., Any], tmp_path: Path
) -> None:
    session = {"sqlite": sql_sessions.Sqlite, "duckdb": sql_sessions.DuckDb}[kind]
    data = source_of("jsonl", table(), tmp_path)
    ended = 0
    for at in calls:
        file = tmp_path / f"{at}.{kind}"
        order = registered().order(
            data, f"{kind}:///{file}", run="today", keep=("id",), on_error="quarantine", part_rows=2
        )
        if not killed(lambda o=order: score(o), session, method, at=at, torn=False):
            break
        ended += 1
        assert score(order).scored == ROWS
        assert in_database(kind, file) == (Counter(f"r{n:04}" for n in (0, 1, 3, 4, 5)), [3])
    assert ended == min(len(calls), STATEMENTS[method])
    with pytest.raises(InputError, match="the run 'today' is whole there already"):
        score(order)
    assert score(order, again=True).scored == ROWS


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_table_that_would_change_a_value_is_refused(kind: str, tmp_path: Path) -> None:
    """A code of digits that stays text in one run is 7 and not 007 in a table of integers."""
    integers, texts = Column(name="id", type="integer"), Column(name="id", type="string")
    for run, column in (("first", integers), ("second", texts)):
        place = SqlDestination(f"{kind}:///{tmp_path / 'out'}", table="scores", run=run)
        try:
            if column is integers:
                place.prepare([column])
                continue
            with pytest.raises(InputError, match="holds 'id' as BIGINT, which would change"):
                place.prepare([column])
        finally:
            place.close()


def test_postgresql_takes_each_part_once(registered: Callable[..., Any], tmp_path: Path) -> None:
    folder = programs()
    if folder is None:
        missing("PostgreSQL is not here.", remedy="On Debian or Ubuntu: apt install postgresql")
    data = source_of("jsonl", table(), tmp_path)
    options = {"keep": ("id", "since"), "on_error": "quarantine", "part_rows": 2}
    with server(folder) as port:
        address = f"postgresql://me:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
        order = registered().order(data, address, run="today", table='a {} "scores"', **options)
        assert killed(lambda: score(order), sql_sessions.PostgreSql, "commit", at=4, torn=False)
        scores = score(order)
        assert scores.scored == ROWS
        assert PASSWORD not in scores.dumps()
        assert "me:***" in scores.destination or "me:" not in scores.destination
        with connect(port) as connection, connection.cursor() as cursor:
            cursor.execute('SELECT id, since FROM "a {} ""scores""" ORDER BY id')
            found = cursor.fetchall()
            cursor.execute('SELECT "row", "where" FROM "a {} ""scores""_refused"')
            refused = cursor.fetchall()
            last = scores.output_columns[-1].name
            cursor.execute(f'ALTER TABLE "a {{}} ""scores""" ALTER COLUMN "{last}" TYPE bigint')
            connection.commit()
        with pytest.raises(InputError, match=f"holds '{last}' as bigint, which would change"):
            score(replace(order, run="tomorrow"))
    assert [one for one, _ in found] == ["r0000", "r0001", "r0003", "r0004", "r0005"]
    assert found[0][1].isoformat() == "2026-01-01T00:00:00+00:00"
    assert refused == [(3, f"{tmp_path}/rows.jsonl: line 3")]


def in_database(kind: str, file: Path) -> tuple[Counter[str], list[int]]:
    """How often each row was appended, and which were set aside."""
    import duckdb

    connection: Any = sqlite3.connect(file) if kind == "sqlite" else duckdb.connect(str(file))
    ids = connection.execute("SELECT id FROM scores WHERE penstock_run = 'today'").fetchall()
    refused = connection.execute('SELECT "row" FROM scores_refused').fetchall()
    connection.close()
    return Counter(one for (one,) in ids), [row for (row,) in refused]
