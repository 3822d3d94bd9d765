"""Scored rows appended to a table of a database: each part in one transaction with its note.

Beside the table TABLE are TABLE_refused, with the rows that were not scored, and two tables of
notes, penstock_scores and penstock_scored_parts, by the name of the run. So what a transaction that
was cut short had appended is not there, and a run that goes on appends nothing twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from penstock.common.secrets import resolve, shown
from penstock.errors import InputError, IntegrityError, PenstockError, ServiceError
from penstock.records.dataset import Column
from penstock.records.scores import Plan, ScoredPart, Scores
from penstock.redaction import redact
from penstock.scoring.destination import Content, taken_over
from penstock.scoring.sql_sessions import TYPES, connect, quoted

if TYPE_CHECKING:
    import pyarrow as pa

RUN = "penstock_run"
"""Column of the table that says which scoring a row is from."""

_RUNS, _PARTS = "penstock_scores", "penstock_scored_parts"


def is_database(address: str) -> bool:
    """Return whether an address is a database that scores can be appended to."""
    return address.partition("://")[0].partition("+")[0] in TYPES and "://" in address


class SqlDestination:
    """A table of SQLite, DuckDB or PostgreSQL.

    Args:
        address: A SQLAlchemy URL; references to secrets in it are resolved.
        table: The table; made if it is not there.
        run: Names the scoring.

    Raises:
        InputError: If the address names another database, or no driver is installed.
        ServiceError: If the database cannot be reached.
    """

    def __init__(self, address: str, *, table: str, run: str) -> None:
        self._where = shown(address, where="--out")
        self._table, self._run = table, run
        self._columns: tuple[Column, ...] = ()
        with self._errors():
            self._session = connect(resolve(address, where="--out"), where=self._where)
        try:
            self._make_notes()
        except BaseException:
            self._session.close()
            raise

    def whole(self) -> Scores | None:
        """See `Destination`."""
        _, record = self._noted()
        return Scores.loads(record, where=f"{self._where}: {_RUNS}") if record else None

    def begun(self) -> Plan | None:
        """See `Destination`."""
        plan, record = self._noted()
        if not plan:
            return None
        if record:
            raise InputError(
                f"the run {self._run!r} is whole there already",
                where=self._where,
                remedy="Give the run another name.",
            )
        return Plan.loads(plan, where=f"{self._where}: {_RUNS}")

    def begin(self, plan: Plan) -> None:
        """See `Destination`."""
        with self._transaction():
            if self._noted()[0]:
                raise taken_over(self._where)
            self._run_statement(
                f"INSERT INTO {_RUNS} (run, plan) VALUES ({self._marks(2)})",  # noqa: S608
                self._run,
                plan.dumps(),
            )

    def prepare(self, columns: Sequence[Column]) -> None:
        """See `Destination`."""
        self._columns = (Column(name=RUN, type="string"), *columns)
        refused = [Column(name=n, type=t) for n, t in _REFUSED]
        with self._transaction():
            for table, made in ((self._table, self._columns), (f"{self._table}_refused", refused)):
                self._session.execute(self._definition(table, made))
        with self._errors():
            there = self._session.columns(self._table)
        names = [column.name for column in self._columns]
        if sorted(there) != sorted(names):
            raise InputError(
                f"the table {self._table!r} has the columns {', '.join(there)}, and the scores "
                f"have {', '.join(names)}",
                where=self._where,
                remedy="Name another table.",
            )
        for column in self._columns:
            if self._session.alters(column.type, there[column.name]):
                raise InputError(
                    f"the table {self._table!r} holds {column.name!r} as {there[column.name]}, "
                    f"which would change values of type {column.type}",
                    where=self._where,
                    remedy="Name another table.",
                )

    def parts(self) -> list[ScoredPart]:
        """See `Destination`."""
        query = f"SELECT note FROM {_PARTS} WHERE run = {self._mark(1)} ORDER BY part"  # noqa: S608
        found = [
            ScoredPart.loads(note, where=f"{self._where}: {_PARTS}")
            for (note,) in self._rows(query, self._run)
        ]
        if [part.number for part in found] != list(range(len(found))):
            raise IntegrityError(
                f"a note of the run {self._run!r} is gone",
                where=f"{self._where}: {_PARTS}",
                remedy="Its notes were changed: score again as another run.",
            )
        expected = sum(part.scored for part in found)
        if expected:
            of_run = f"FROM {quoted(self._table)} WHERE {RUN} = {self._mark(1)}"
            query = f"SELECT count(*) {of_run}"
            ((rows,),) = self._rows(query, self._run)
            if rows != expected:
                raise IntegrityError(
                    f"the table {self._table!r} holds {rows:,} rows of the run {self._run!r}, and "
                    f"{expected:,} were appended",
                    where=self._where,
                    remedy="Its rows were changed: score again as another run.",
                )
        return found

    def write(self, part: ScoredPart, content: Content) -> ScoredPart:
        """See `Destination`."""
        with self._transaction():
            self._require_alone(part.number)
            if content.table.num_rows:
                self._session.append(self._table, self._with_run(content.table))
            if content.refused:
                lines = [
                    (
                        self._run,
                        one.row,
                        one.where,
                        one.column,
                        one.reason,
                        one.values_json(),
                    )
                    for one in content.refused
                ]
                names = [name for name, _ in _REFUSED]
                self._session.append(f"{self._table}_refused", _table_of(names, lines))
            self._run_statement(
                f"INSERT INTO {_PARTS} (run, part, note) VALUES ({self._marks(3)})",  # noqa: S608
                self._run,
                part.number,
                part.dumps(),
            )
        return part

    def finish(self, scores: Scores) -> None:
        """See `Destination`."""
        with self._transaction():
            self._run_statement(
                f"UPDATE {_RUNS} SET record = {self._mark(1)} WHERE run = {self._mark(2)}",  # noqa: S608
                scores.dumps(),
                self._run,
            )

    def close(self) -> None:
        """Let the database go."""
        self._session.close()

    def _require_alone(self, part: int) -> None:
        """Refuse a part that another process has appended since this one looked."""
        of_part = f"FROM {_PARTS} WHERE run = {self._mark(1)} AND part = {self._mark(2)}"
        if self._session.rows(f"SELECT 1 {of_part}", (self._run, part)):
            raise taken_over(self._where)

    def _make_notes(self) -> None:
        with self._transaction():
            self._session.execute(
                f"CREATE TABLE IF NOT EXISTS {_RUNS} "
                "(run TEXT PRIMARY KEY, plan TEXT NOT NULL, record TEXT)"
            )
            self._session.execute(
                f"CREATE TABLE IF NOT EXISTS {_PARTS} (run TEXT NOT NULL, part BIGINT NOT NULL, "
                "note TEXT NOT NULL, PRIMARY KEY (run, part))"
            )

    def _noted(self) -> tuple[str, str]:
        """Return the plan and the record of the run, empty where there is none."""
        query = f"SELECT plan, record FROM {_RUNS} WHERE run = {self._mark(1)}"  # noqa: S608
        found = self._rows(query, self._run)
        return (found[0][0], found[0][1] or "") if found else ("", "")

    def _with_run(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        return table.add_column(0, RUN, pa.array([self._run] * table.num_rows, pa.string()))

    def _definition(self, table: str, columns: Sequence[Column]) -> str:
        types = TYPES[self._session.kind]
        made = ", ".join(f"{quoted(c.name)} {types[c.type]}" for c in columns)
        return f"CREATE TABLE IF NOT EXISTS {quoted(table)} ({made})"

    def _run_statement(self, statement: str, *values: Any) -> None:
        self._session.execute(statement, values)

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._session.rows(query, values)

    def _mark(self, place: int) -> str:
        """Return what stands in a statement for its value at a place, from 1."""
        return f"${place}" if self._session.kind == "postgresql" else "?"

    def _marks(self, count: int) -> str:
        return ", ".join(self._mark(place + 1) for place in range(count))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Do all of a block or nothing."""
        with self._errors():
            self._session.begin()
            try:
                yield
                self._session.commit()
            except BaseException:
                with contextlib.suppress(Exception):
                    self._session.rollback()
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (PenstockError, KeyboardInterrupt):
            raise
        except Exception as error:  # Each driver has exceptions of its own.
            message = " ".join(str(error).split())
            raise ServiceError(
                f"the database does not take the scores: {redact(message):.300}",
                where=self._where,
                remedy="Correct what it says, then run the command again: it goes on.",
            ) from error


_REFUSED: tuple[tuple[str, Any], ...] = (
    (RUN, "string"),
    ("row", "integer"),
    ("where", "string"),
    ("column", "string"),
    ("reason", "string"),
    ("values", "string"),
)


def _table_of(names: Sequence[str], lines: Sequence[tuple[Any, ...]]) -> pa.Table:
    import pyarrow as pa

    return pa.table(dict(zip(names, map(list, zip(*lines, strict=True)), strict=True)))
