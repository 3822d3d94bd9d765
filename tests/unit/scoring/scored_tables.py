"""The same rows as a source of each kind, and what was written of a scoring."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from penstock.data.spec import SourceSpec

TYPES = {
    "id": pa.string(),
    "age": pa.int64(),
    "hours per-week": pa.float64(),
    "member": pa.bool_(),
    "job": pa.string(),
    "since": pa.timestamp("us", "UTC"),
}


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as an Arrow table, with a column `id` before them."""
    arrays = {"id": pa.array([f"r{at:04}" for at in range(len(rows))])}
    for name, kind in list(TYPES.items())[1:]:
        values = [row[name] for row in rows]
        if name == "since":
            values = [value and datetime.fromisoformat(value) for value in values]
        arrays[name] = pa.array(values, kind)
    return pa.table(arrays)


def source_of(kind: str, rows: list[dict[str, Any]], folder: Path) -> SourceSpec:
    """Rows as a file of a kind, or a database."""
    table = table_of(rows)
    if kind == "parquet":
        pq.write_table(table, folder / "rows.parquet")
        return SourceSpec(uri=str(folder / "rows.parquet"))
    if kind == "csv":
        csv.write_csv(table, folder / "rows.csv")
        return SourceSpec(uri=str(folder / "rows.csv"))
    if kind == "jsonl":
        import json

        lines = [{"id": f"r{at:04}"} | row for at, row in enumerate(rows)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return SourceSpec(uri=str(folder / "rows.jsonl"))
    connection = sqlite3.connect(folder / "rows.db")
    connection.execute(
        'CREATE TABLE rows (id TEXT, age BIGINT, "hours per-week" DOUBLE, member BOOLEAN, '
        "job TEXT, since TEXT)"
    )
    values = [(f"r{at:04}", *row.values()) for at, row in enumerate(rows)]
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", values)
    connection.commit()
    return SourceSpec(uri=f"sqlite:///{folder / 'rows.db'}", query="SELECT * FROM rows ORDER BY id")


def written(out: Path) -> pa.Table:
    """All rows that were written."""
    return pa.concat_tables(pq.read_table(path) for path in sorted((out / "rows").iterdir()))
