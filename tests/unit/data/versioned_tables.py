"""Real Delta and Iceberg tables with two versions each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

FIRST = pa.table({"age": [31, 47, 58], "city": ["Bonn", "Kiel", None]})
SECOND = pa.table({"age": [19, 25], "city": ["Ulm", "Trier"]})


def delta_table(folder: Path) -> str:
    """Write a Delta table of which version 1 has the rows of both tables; return its address."""
    from deltalake import write_deltalake

    write_deltalake(folder, FIRST)
    write_deltalake(folder, SECOND, mode="append")
    return f"delta://{folder}"


def iceberg_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a catalog `lake` with the table `risk.people`, as pyiceberg has it."""
    from pyiceberg.catalog import load_catalog
    from pyiceberg.utils.config import Config

    folder.mkdir()
    settings = {"TYPE": "sql", "URI": f"sqlite:///{folder}/catalog.db",
                "WAREHOUSE": f"file://{folder}/warehouse"}  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__LAKE__{name}", value)
    # It reads the environment once, when it is imported.
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())
    catalog = load_catalog("lake")
    catalog.create_namespace("risk")
    table = catalog.create_table("risk.people", schema=FIRST.schema)
    table.append(FIRST)
    return table
