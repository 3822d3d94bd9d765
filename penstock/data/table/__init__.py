"""Datasets on disk: Parquet files and a record beside them."""

from penstock.data.table.dataset import (
    Part,
    iter_batches,
    iter_columns,
    iter_parts,
    parts_of,
    read_dataset,
    read_table,
    write_dataset,
    writing,
)

__all__ = [
    "Part",
    "iter_batches",
    "iter_columns",
    "iter_parts",
    "parts_of",
    "read_dataset",
    "read_table",
    "write_dataset",
    "writing",
]
