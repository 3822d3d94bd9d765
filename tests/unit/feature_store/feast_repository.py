"""Run in build/feast: makes a Feast repository, and joins by `retrieve`.

Customer 1 has a late correction; customer 2 two rows at one time; of customer 3 nothing was known
at the first of its rows; customer 9 is not there.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from penstock.data.table import read_table, write_dataset
from penstock.errors import PenstockError
from penstock.feature_store.retrieval import retrieve
from penstock.feature_store.spec import RetrievalSpec

NOW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
"""Values of the last days: older ones are past their time to live."""


def day(number: int, hour: int = 0) -> datetime:
    """Return a time `number` days after the first of thirty days before today."""
    return NOW - timedelta(days=30) + timedelta(days=number, hours=hour)


STATS = [
    (1, day(1), day(1, 1), 3, 10.1, "Bonn", True),
    (1, day(1), day(9), 30, 99.5, "Bonn", True),
    (1, day(10), day(10, 1), 4, 12.5, "Bonn", True),
    (2, day(2), day(2, 1), 7, 0.5, "Kiel", False),
    (3, day(20), day(20, 1), 1, 1.5, "Ulm", True),
]
ENTITIES = [
    (1, day(5), 0), (1, day(12), 1), (2, day(5), 0), (2, day(5), 1),
    (3, day(5), 0), (3, day(21), 1), (9, day(5), 0),
]  # fmt: skip


def configuration(folder: Path, store: str) -> dict[str, Any]:
    return {
        "project": "shop",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "offline_store": {"type": store},
        "entity_key_serialization_version": 3,
    }


def apply(folder: Path) -> None:
    """Write the table and the definitions, and bring the present values online."""
    from feast import (
        Entity,
        FeatureService,
        FeatureStore,
        FeatureView,
        Field,
        FileSource,
        ValueType,
    )
    from feast.types import Bool, Float32, Int64, String

    columns = ["customer_id", "measured", "written", "orders", "spent", "city", "active"]
    pd.DataFrame(STATS, columns=columns).to_parquet(folder / "stats.parquet")
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    dated = FileSource(
        path=str(folder / "stats.parquet"),
        timestamp_field="measured",
        created_timestamp_column="written",
    )
    undated = FileSource(path=str(folder / "stats.parquet"), timestamp_field="measured")
    schema = [
        Field(name=name, dtype=kind)
        for name, kind in
        {"orders": Int64, "spent": Float32, "city": String, "active": Bool}.items()
    ]  # fmt: skip
    days = timedelta(days=90)
    stats = FeatureView(name="stats", entities=[customer], ttl=days, schema=schema, source=dated)
    plain = FeatureView(
        name="plain", entities=[customer], ttl=days, schema=schema[:1], source=undated
    )
    (folder / "feature_store.yaml").write_text(json.dumps(configuration(folder, "file")))
    store = FeatureStore(repo_path=str(folder))
    risk, leaking = (
        FeatureService(name=name, features=[view])
        for name, view in (("risk", stats), ("leaking", plain))
    )
    store.apply([customer, stats, plain, risk, leaking])
    store.materialize(start_date=day(-1), end_date=datetime.now(UTC))


def joined(folder: Path, name: str, **options: Any) -> Any:
    """Return the rows and the record, or what was refused."""
    try:
        spec = RetrievalSpec.parse({"service": "risk", "time": "at", **options}, where="options")
        record = retrieve(folder / "entities", options=spec, output=folder / name)
    except PenstockError as error:
        assert not (folder / name).exists()
        return {"refused": str(error), "error": type(error).__name__}
    rows = read_table(folder / name).drop_columns(["at"]).to_pylist()
    return {"rows": rows, "record": record.payload()}


def main() -> None:
    folder = Path.cwd()
    repository = folder / "feature_repo"
    repository.mkdir()
    apply(repository)
    table = pa.table(
        {
            "customer_id": [key for key, _, _ in ENTITIES],
            "at": pa.array([at for _, at, _ in ENTITIES], pa.timestamp("us", tz="UTC")),
            "paid": [paid for _, _, paid in ENTITIES],
        }
    )
    write_dataset([table], output=folder / "entities", source="loans.csv")
    here = str(repository)
    duckdb = configuration(repository, "duckdb")
    away = configuration(repository, "file") | {
        "registry": {"registry_type": "sql", "path": "sqlite:////nowhere/registry.db"}
    }
    found = {
        "refused": joined(folder, "refused", repository=here),
        "filled": joined(folder, "filled", repository=here, dropped="missing"),
        "duckdb": joined(folder, "duckdb", store=duckdb),
        "leaking": joined(folder, "leaking", store=duckdb, service="leaking"),
        "no service": joined(folder, "x", repository=here, service="rsik"),
        "no repository": joined(folder, "x", repository="/nowhere"),
        "away": joined(folder, "x", store=away),
    }
    Path(sys.argv[1]).write_text(json.dumps(found, default=str))
    # The lines of docs/feast.md.
    exec(sys.argv[2], {})


if __name__ == "__main__":
    main()
