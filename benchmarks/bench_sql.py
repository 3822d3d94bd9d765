"""Ingest of a query's answer through Arrow against SQLAlchemy, row by row, with the same digest.

One table of 300,000 rows and six columns (a whole number, an amount, a double, a text, a time and a
boolean) lies in DuckDB, in SQLite and, where one is installed, in a PostgreSQL server that the
benchmark starts. Each run is a process of its own; the two readers alternate.

    python benchmarks/bench_sql.py --pairs 5 --json sql.json

CPU is that of the process, user and system; what the server of PostgreSQL uses is the same for both
and counts for neither. Beyond imports: less the same ingest of one row.
Target: at least 10 times cheaper beyond imports, the same digest.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from measuring import measured
from targets import Target, report

TIMES = 10
ROWS = 300_000
QUESTION = (
    "CPU of ingesting a query's answer through Arrow, beside SQLAlchemy row by row, both into the "
    "same writer with the same digest."
)

# DuckDB makes the table; the others are filled from it.
TABLE = """
create table t as select
  i::bigint as id,
  case when hash(i, 1) % 50 > 0 then (hash(i, 2) % 1000000 / 100)::decimal(10, 2) end as amount,
  case when hash(i, 3) % 50 > 0 then hash(i, 4) / 18446744073709551615.0 end as score,
  case when hash(i, 5) % 50 > 0 then 'city ' || hash(i, 6) % 200 end as city,
  timestamp '2024-01-01' + to_seconds(i::bigint) as moment,
  hash(i, 7) % 3 = 0 as paid
from range({rows}) t(i)
"""
FORMS = {
    "SQLite": "id integer, amount real, score real, city text, moment text, paid integer",
    "PostgreSQL": "id bigint, amount numeric(10, 2), score double precision, city text, "
    "moment timestamp, paid boolean",
}

RUN = """
import sys
from pathlib import Path
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
dataset = ingest(SourceSpec(uri=sys.argv[1], query=sys.argv[2]), output=Path(sys.argv[3]))
print(dataset.content, dataset.notes[1])
"""

WRITE = """
import sys, time
from pathlib import Path
from penstock.data.spec import SourceSpec
from penstock.data.sql.reader import SqlReader
from penstock.data.table import write_dataset
reader = SqlReader(SourceSpec(uri=sys.argv[1], query=sys.argv[2]))
reader.infer(whole=False)
held = list(reader.batches())
begun = time.process_time()
write_dataset(
    iter(held), output=Path(sys.argv[3]), source="", notes=[], assumptions=[], reading=None
)
print(time.process_time() - begun)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0 when every target is met, 1 when one is missed.

    Args:
        arguments: The command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    options = parser.parse_args(arguments)
    results, targets = {}, []
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        for database, addresses in _databases(folder, options.rows):
            result = _measure(addresses, folder, options.pairs)
            results[database] = result
            _print(database, result)
            what = f"CPU of {options.rows:,} x 6 from {database}, SQLAlchemy's over Arrow's"
            targets.append(
                Target(f"{what}, beyond imports", result["ratio"], TIMES, side="at least")
            )
    figures = {"rows": options.rows, "pairs": options.pairs, "databases": results}
    return report("sql", question=QUESTION, figures=figures, targets=targets, path=options.json)


def _databases(folder: Path, rows: int) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each database with the address read through Arrow and that read row by row.

    An address that names a driver, or has an option, is read by SQLAlchemy.
    """
    import duckdb

    path = folder / "t.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute(TABLE.format(rows=rows))
        database.execute("copy t to '" + str(folder / "t.csv") + "' (header false)")
        found = database.sql(
            "select * replace (amount::double as amount, moment::text as moment) from t"
        )
        _fill_sqlite(folder / "t.db", found.fetchall())
    yield "DuckDB", (f"duckdb:///{path}", f"duckdb:///{path}?access_mode=read_only")
    yield "SQLite", tuple(f"{kind}:///{folder}/t.db" for kind in ("sqlite", "sqlite+pysqlite"))
    with _postgresql(folder / "t.csv") as rest:
        if rest:
            yield (
                "PostgreSQL",
                tuple(f"{kind}://{rest}" for kind in ("postgresql", "postgresql+psycopg2")),
            )


def _fill_sqlite(path: Path, rows: list[Any]) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"create table t ({FORMS['SQLite']})")
        database.executemany("insert into t values (?, ?, ?, ?, ?, ?)", rows)
    database.close()


@contextlib.contextmanager
def _postgresql(table: Path) -> Iterator[str]:
    """Yield the address of a server that holds the table, empty where none is installed."""
    tests = Path(__file__).parent.parent / "tests"
    sys.path += [str(tests), str(tests / "unit" / "data" / "sql")]
    from urllib.parse import quote

    import postgresql_server as server

    programs = server.programs()
    if programs is None:
        print("NO POSTGRESQL: `postgres` is not installed (Debian: postgresql)")
        yield ""
        return
    with server.server(programs) as port:
        with contextlib.closing(server.connect(port)) as database, table.open() as rows:
            cursor = database.cursor()
            cursor.execute(f"create table t ({FORMS['PostgreSQL']})")
            cursor.copy_expert("copy t from stdin (format csv)", rows)
        yield f"me:{quote(server.PASSWORD, safe='')}@127.0.0.1:{port}/postgres"


def _measure(addresses: tuple[str, str], folder: Path, pairs: int) -> dict[str, Any]:
    """Return the CPU of both readers, with and beyond imports, and the medians of their ratios."""
    cpu: dict[str, list[float]] = {"arrow": [], "rows": []}
    names = dict(zip(cpu, addresses, strict=True))
    one = {name: _least(names[name], folder) for name in names}
    digests = set()
    for turn in range(pairs):
        for name in list(names)[:: 1 if turn % 2 else -1]:
            seconds, said = _run(names[name], "select * from t", folder)
            cpu[name].append(seconds)
            digest, _, how = said.partition(" ")
            digests.add(digest)
            if ("through Arrow, by" in how) != (name == "arrow"):
                raise SystemExit(f"{name}: {how}")
    if len(digests) != 1:
        raise SystemExit(f"the digests differ: {digests}")
    written = [float(_run(addresses[0], "select * from t", folder, WRITE)[1]) for _ in range(3)]
    beyond = {name: [seconds - one[name] for seconds in cpu[name]] for name in cpu}
    return {
        "digest": digests.pop(),
        "cpu": cpu,
        "imports": one,
        "writer": statistics.median(written),
        "median": {name: statistics.median(cpu[name]) for name in cpu},
        "beyond": {name: statistics.median(beyond[name]) for name in cpu},
        "ratio": _ratio(beyond),
        "ratio_with_imports": _ratio(cpu),
    }


def _ratio(cpu: dict[str, list[float]]) -> float:
    pairs = zip(cpu["rows"], cpu["arrow"], strict=True)
    return statistics.median(rows / max(arrow, 1e-3) for rows, arrow in pairs)


def _least(address: str, folder: Path) -> float:
    return statistics.median(_run(address, "select * from t limit 1", folder)[0] for _ in range(3))


def _run(address: str, query: str, folder: Path, code: str = RUN) -> tuple[float, str]:
    """Ingest in a process of its own; return its CPU seconds and the last line that it printed."""
    output = folder / "output"
    cost, said = measured([sys.executable, "-c", code, address, query, output])
    shutil.rmtree(output)
    return cost.cpu, said.splitlines()[-1]


def _print(database: str, result: dict[str, Any]) -> None:
    for name, what in (("rows", "SQLAlchemy, row by row"), ("arrow", "through Arrow")):
        print(
            f"{database:12}{what:24}{result['beyond'][name]:6.2f} CPU s beyond imports, "
            f"{result['median'][name]:6.2f} with imports"
        )
    print(f"{database:12}{'of it the writer':24}{result['writer']:6.2f}, the same for both")
    print(
        f"{database:12}{result['ratio']:.1f} times cheaper beyond imports, "
        f"{result['ratio_with_imports']:.1f} with them; one digest, {result['digest']}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
