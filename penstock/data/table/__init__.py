"""Datasets on disk: Parquet files and a record beside them."""

from penstock.data.table.dataset import (
    iter_batches,
    iter_columns,
    read_dataset,
    read_table,
    write_dataset,
    writing,
)

__all__ = [
    "iter_batches",
    "iter_columns",
    "read_dataset",
    "read_table",
    "write_dataset",
    "writing",
]
