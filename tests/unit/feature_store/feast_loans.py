"""Run in build/feast: a Feast repository of 200 customers, and a table of loans joined with it.

Whether a loan is paid depends on what the feature store alone knows. With the argument `spoil` it
changes what is online, as a materialization of something else would.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String
from feast_repository import configuration

from penstock.data.table import write_dataset
from penstock.feature_store.retrieval import retrieve
from penstock.feature_store.spec import RetrievalSpec

NOW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
CUSTOMERS, LOANS = 200, 3_000


def stats(random: np.random.Generator) -> pd.DataFrame:
    """Return what is known of each customer: 60 days ago, and since 30 days ago."""
    views = [
        pd.DataFrame(
            {
                "customer_id": np.arange(CUSTOMERS),
                "measured": NOW - timedelta(days=days),
                "written": NOW - timedelta(days=days),
                "orders": random.integers(0, 40, CUSTOMERS),
                "spent": random.normal(100, 30, CUSTOMERS).round(2),
                "city": random.choice(["Bonn", "Kiel", "Ulm"], CUSTOMERS),
            }
        )
        for days in (60, 30)
    ]
    return pd.concat(views)


def loans(random: np.random.Generator, known: pd.DataFrame) -> pa.Table:
    """Return loans of the last 50 days, paid by who had ordered much at the time."""
    days = random.uniform(0, 50, LOANS)
    customers = random.integers(0, CUSTOMERS, LOANS)
    amounts = random.uniform(10, 500, LOANS).round(2)
    orders = known["orders"].to_numpy().reshape(2, CUSTOMERS)
    then = orders[(days < 30).astype(int), customers]
    paid = then + random.normal(0, 4, LOANS) > 12 + amounts / 50
    times = [NOW - timedelta(days=day) for day in days]
    return pa.table(
        {
            "customer_id": customers,
            "at": pa.array(times, pa.timestamp("us", tz="UTC")),
            "amount": amounts,
            "paid": paid,
        }
    )


def spoil(repository: Path) -> None:
    """Bring other values online, of the same time."""
    known = pd.read_parquet(repository / "stats.parquet")
    newest = known[known["measured"] == known["measured"].max()]
    spoilt = newest.assign(spent=newest["spent"] + 1)
    FeatureStore(repo_path=str(repository)).write_to_online_store("stats", spoilt)


def make(folder: Path, repository: Path) -> None:
    """Write the repository, what is online, and the joined table."""
    repository.mkdir()
    random = np.random.default_rng(0)
    known = stats(random)
    known.to_parquet(repository / "stats.parquet")
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    source = FileSource(
        path=str(repository / "stats.parquet"),
        timestamp_field="measured",
        created_timestamp_column="written",
    )
    schema = [
        Field(name=name, dtype=kind)
        for name, kind in {"orders": Int64, "spent": Float64, "city": String}.items()
    ]
    view = FeatureView(
        name="stats", entities=[customer], ttl=timedelta(days=90), schema=schema, source=source
    )
    settings = json.dumps(configuration(repository, "duckdb"))
    (repository / "feature_store.yaml").write_text(settings)
    store = FeatureStore(repo_path=str(repository))
    store.apply([customer, view, FeatureService(name="risk", features=[view])])
    store.materialize(start_date=NOW - timedelta(days=70), end_date=datetime.now(UTC))
    write_dataset([loans(random, known)], output=folder / "entities", source="loans.csv")
    options = RetrievalSpec(service="risk", time="at", repository=str(repository))
    retrieve(folder / "entities", options=options, output=folder / "joined")


if __name__ == "__main__":
    if sys.argv[1:] == ["spoil"]:
        spoil(Path("feature_repo"))
    else:
        make(Path.cwd(), Path.cwd() / "feature_repo")
