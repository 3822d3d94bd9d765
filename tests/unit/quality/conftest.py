"""Datasets to check: the real census table, and small ones whose faults are counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.data.table import write_dataset

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a dataset from columns: Arrow arrays or plain lists by name."""
    import pyarrow as pa

    def build(name: str = "data", **columns) -> Path:
        folder = tmp_path / name
        write_dataset([pa.table(columns)], output=folder, source=f"{name}.csv")
        return folder

    return build


@pytest.fixture(scope="session")
def adult(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the census table's published parts, `train` and `test`, as datasets."""
    import pandas as pd
    import pyarrow as pa

    folder = tmp_path_factory.mktemp("adult")
    for part in ("train", "test"):
        path = shared_data / f"adult-{part}.csv"
        frame = pd.read_csv(path, skipinitialspace=True, na_values="?")
        rows = pa.Table.from_pandas(frame, preserve_index=False)
        write_dataset([rows], output=folder / part, source=path.name)
    return folder
