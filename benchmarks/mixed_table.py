"""A table of 20 mixed columns, as a CSV file or as a dataset of ours.

python benchmarks/mixed_table.py csv 1000000 table.csv
python benchmarks/mixed_table.py dataset 1000000 folder
python benchmarks/mixed_table.py dataset 1000 folder 5000   # rows 5,000 to 5,999
python benchmarks/mixed_table.py parquet 1000000 table.parquet   # fraud can be learned
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def batch(start: int, rows: int) -> pa.RecordBatch:
    """Return the rows from `start` on."""
    chance = np.random.default_rng([7, start])
    number = np.arange(start, start + rows)

    def pick(*levels: str) -> npt.NDArray[np.str_]:
        return np.array(levels)[chance.integers(0, len(levels), rows)]

    def missing(values: npt.NDArray[Any], share: float) -> pa.Array:
        return pa.array(values, mask=chance.random(rows) < share)

    return pa.record_batch(
        {
            "transaction": pa.array(np.char.add("tx-", number.astype("U10"))),
            "customer": pa.array(np.char.add("c", chance.integers(0, 200_000, rows).astype("U6"))),
            "age": missing(chance.integers(18, 95, rows), 0.02),
            "visits": chance.poisson(3, rows),
            "balance_cents": chance.integers(-(10**6), 10**8, rows),
            "zip": chance.integers(10_000, 99_999, rows),
            "amount": np.round(chance.lognormal(3, 1, rows), 2),
            "score": chance.random(rows),
            "ratio": missing(np.round(chance.normal(size=rows), 6), 0.05),
            "latitude": np.round(chance.uniform(-90, 90, rows), 5),
            "temperature": missing(np.round(chance.normal(15, 8, rows), 1), 0.1),
            "country": np.char.add(
                "country-", chance.geometric(0.1, rows).clip(1, 60).astype("U2")
            ),
            "channel": pick("web", "app", "shop", "phone"),
            "segment": missing(pick("gold", "silver", "bronze"), 0.08),
            "merchant": np.char.add("m", chance.integers(0, 5_000, rows).astype("U4")),
            "day": pa.array((18_000 + chance.integers(0, 1_500, rows)).astype("datetime64[D]")),
            "moment": pa.array((1_577_836_800 + number).astype("datetime64[s]")),
            "active": chance.random(rows) < 0.7,
            "fraud": chance.random(rows) < 0.01,
            "comment": missing(pick("ok", "late, but paid", "returned", "gift"), 0.5),
        }
    )


def write_csv(rows: int, path: Path) -> None:
    """Write the table as a CSV file."""
    from pyarrow import csv

    with csv.CSVWriter(path, batch(0, 1).schema) as writer:
        for start in range(0, rows, 250_000):
            writer.write_batch(batch(start, min(250_000, rows - start)))


def write_dataset(rows: int, path: Path, first: int = 0) -> None:
    """Write the table as a dataset, into a folder, from a row on."""
    from penstock.data import table

    batches = (batch(first + at, min(100_000, rows - at)) for at in range(0, rows, 100_000))
    table.write_dataset(batches, output=path, source="bench.parquet")


def write_learnable(rows: int, path: Path) -> None:
    """Write the table as a Parquet file, with a target that depends on three of the columns."""
    from pyarrow import parquet

    with parquet.ParquetWriter(path, batch(0, 1).schema) as writer:
        for start in range(0, rows, 250_000):
            writer.write_batch(_learnable(batch(start, min(250_000, rows - start)), start))


def _learnable(rows: pa.RecordBatch, start: int) -> pa.RecordBatch:
    chance = np.random.default_rng([8, start])
    amount, score = (rows.column(name).to_numpy() for name in ("amount", "score"))
    web = np.asarray(rows.column("channel").to_pylist()) == "web"
    logit = -6 + np.log1p(amount) / 2 + 3 * (score - 0.5) + 1.5 * web
    fraud = chance.random(len(amount)) < 1 / (1 + np.exp(-logit))
    return rows.set_column(rows.schema.get_field_index("fraud"), "fraud", pa.array(fraud))


if __name__ == "__main__":
    rows, to = int(sys.argv[2]), Path(sys.argv[3])
    if sys.argv[1] == "csv":
        write_csv(rows, to)
    elif sys.argv[1] == "parquet":
        write_learnable(rows, to)
    else:
        write_dataset(rows, to, int(sys.argv[4]) if len(sys.argv) > 4 else 0)
