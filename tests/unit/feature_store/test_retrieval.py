"""What is refused of a join. Feast does not go with the libraries of these tests.

So a stand-in gives the answers that a real one gave or, where a real one cannot be brought to it,
wrong ones; the real one is asked in test_feast.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from penstock.data.ingest import ingest
from penstock.data.restore import restore
from penstock.data.spec import SourceSpec, SplitSpec
from penstock.data.split import split
from penstock.data.split.known_rows import KnownRows
from penstock.data.table import read_table, write_dataset
from penstock.errors import InputError
from penstock.feature_store import retrieval
from penstock.feature_store.repository import Service
from penstock.feature_store.retrieval import ROW, retrieve
from penstock.feature_store.spec import RetrievalSpec
from penstock.records.dataset import Dataset, Reading
from penstock.records.health import TrainingHealth
from penstock.records.retrieval import RetrievedFeature
from penstock.serving.feature_server import retrieval_of
from penstock.training.lineage import write_lineage

OPTIONS = {"service": "risk", "time": "at", "repository": "repository", "sample": 0}
ENTITIES = {"customer_id": [2, 1, 2], "at": [datetime(2026, 11, 5, tzinfo=UTC)] * 3}
SERVICE = Service(
    name="risk",
    project="shop",
    key_types={"customer_id": "Int64"},
    features=(
        RetrievedFeature(name="orders", view="stats", type="Int64"),
        RetrievedFeature(name="city", view="stats", type="String"),
    ),
    undated=(),
    definition="sha256:0",
)

Change = Callable[[pd.DataFrame], pd.DataFrame]


def as_it_is(joined: pd.DataFrame) -> pd.DataFrame:
    return joined


class StandIn:
    """Gives customer 1 three orders and 2 none, in the order and with the types of Feast."""

    def __init__(self, service: Service, change: Change) -> None:
        self._service = service
        self._change = change

    def service(self, name: str) -> Service:
        return self._service

    def values(self, service: Service, wanted: pd.DataFrame) -> pd.DataFrame:
        known = wanted["customer_id"] == 1
        joined = wanted.assign(
            orders=known.map({True: 3.0, False: float("nan")}),
            city=known.map({True: " Bonn", False: None}),
        )
        return self._change(joined.iloc[::-1].reset_index(drop=True))


@pytest.fixture
def joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dataset]:
    def run(
        change: Change = as_it_is,
        *,
        table: dict[str, Any] = ENTITIES,
        service: Service = SERVICE,
        reading: Reading | None = None,
        **options: Any,
    ) -> Dataset:
        write_dataset(
            [pa.table(table)], output=tmp_path / "entities", source="loans.csv", reading=reading
        )
        monkeypatch.setattr(retrieval, "opened", lambda _: StandIn(service, change))
        monkeypatch.setattr(retrieval, "version", lambda: "0.67.0")
        spec = RetrievalSpec.parse(OPTIONS | options, where="options")
        return retrieve(tmp_path / "entities", options=spec, output=tmp_path / "joined")

    return run


def test_rows_keep_their_order_and_their_number(
    joined: Callable[..., Dataset], tmp_path: Path
) -> None:
    record = joined(sample=2)
    rows = read_table(tmp_path / "joined").to_pydict()
    assert rows["customer_id"] == [2, 1, 2]
    assert rows["orders"] == [None, 3, None]
    found = record.origin and record.origin.retrieval
    assert found is not None
    assert found.sample is not None
    assert dict(zip(found.sample.keys["customer_id"], found.sample.values["orders"], strict=True)) \
        == {1: 3, 2: None}  # fmt: skip


def test_texts_mean_what_they_mean_in_the_table(
    joined: Callable[..., Dataset], tmp_path: Path
) -> None:
    joined(reading=Reading(na_values=("?",), strip=True))
    assert read_table(tmp_path / "joined")["city"].to_pylist() == [None, "Bonn", None]


def test_parts_of_it_know_the_service_and_are_not_read_again(
    joined: Callable[..., Dataset], tmp_path: Path
) -> None:
    table = {**ENTITIES, "paid": [0, 1, 0]}
    many = {name: values * 20 for name, values in table.items()}
    record = joined(table=many)
    split(
        tmp_path / "joined",
        SplitSpec(repeats="rows"),
        target="paid",
        task="binary",
        train=tmp_path / "train",
        holdout=tmp_path / "holdout",
    )
    part = Dataset.of(tmp_path / "train")
    assert part.origin is not None
    assert part.origin.retrieval == record.origin.retrieval  # type: ignore[union-attr]
    with pytest.raises(InputError, match="a feature store keeps no versions"):
        restore(part, output=tmp_path / "again")


def test_it_can_be_the_source_of_a_project(joined: Callable[..., Dataset], tmp_path: Path) -> None:
    record = joined()
    read = ingest(SourceSpec(uri=str(tmp_path / "joined")), output=tmp_path / "read")
    assert read.content == record.content
    assert read.origin is not None
    assert read.origin.retrieval == record.origin.retrieval  # type: ignore[union-attr]
    assert restore(read, output=tmp_path / "again").content == record.content


def test_a_model_learns_which_service_it_was_and_no_entity(
    joined: Callable[..., Dataset], tmp_path: Path
) -> None:
    record = joined(sample=2)
    (tmp_path / "model").mkdir()
    write_lineage(
        tmp_path / "model",
        train=tmp_path / "joined",
        dataset=record,
        split=None,
        health=TrainingHealth(rows=3),
        target="orders",
        rows=KnownRows(np.zeros(0, np.uint64), complete=True, known=0, copies=None),
    )
    kept, given = retrieval_of(tmp_path / "model"), record.origin and record.origin.retrieval
    assert given is not None
    assert given.sample is not None
    assert kept == given.model_copy(update={"sample": None})


def twice(joined: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([joined, joined.iloc[:1]], ignore_index=True)


def exchanged(joined: pd.DataFrame) -> pd.DataFrame:
    return joined.assign(**{ROW: joined[ROW].to_numpy()[::-1]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda joined: joined.iloc[1:], "gave 1 of 2 entities and times; the first that it"),
        (twice, "gave 1 rows more than once, the first of customer_id 1 at 2026-11-05T00:00"),
        (exchanged, "gave the features of customer_id"),
        (lambda joined: joined.drop(columns="city"), "has no column 'city'"),
        (lambda joined: joined.assign(orders=2.0**60), "1152921504606846976 was rounded by a join"),
        (lambda joined: joined.assign(orders="three"), "'orders' is declared as Int64"),
    ],
)
def test_a_wrong_join_is_refused_and_leaves_nothing(
    joined: Callable[..., Dataset], tmp_path: Path, change: Change, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        joined(change)
    assert not (tmp_path / "joined").exists()


def test_dropped_rows_are_missing_where_one_view_says_so(
    joined: Callable[..., Dataset], tmp_path: Path
) -> None:
    record = joined(lambda joined: joined.iloc[:1], dropped="missing")
    assert read_table(tmp_path / "joined")["orders"].null_count == 2
    assert record.notes == (
        "Feast's join dropped 1 entities at a time; their features are missing",
    )


def test_dropped_rows_of_several_views_are_refused_all_the_same(
    joined: Callable[..., Dataset],
) -> None:
    other = RetrievedFeature(name="city", view="places", type="String")
    service = Service(**{**vars(SERVICE), "features": (SERVICE.features[0], other)})
    with pytest.raises(InputError, match="a dropped row may have values in another view"):
        joined(lambda joined: joined.iloc[:1], dropped="missing", service=service)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"customer": [1], "at": ENTITIES["at"][:1]}, "no column 'customer_id'"),
        ({"customer_id": [1], "when": ENTITIES["at"][:1]}, "no column 'at'"),
        ({"customer_id": [1, None], "at": ENTITIES["at"][:2]}, "row 2 has no 'customer_id', and 1"),
        ({"customer_id": ["1"], "at": ENTITIES["at"][:1]}, "of type string in the table and of"),
        ({"customer_id": [1], "at": ["soon"]}, "'at' holds values of type string, and no times"),
        ({**ENTITIES, "orders": [1, 2, 3]}, "has a column 'orders' already"),
    ],
)
def test_a_table_that_cannot_be_joined_is_refused(
    joined: Callable[..., Dataset], table: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        joined(table=table)


def test_a_type_that_no_column_holds_is_refused(joined: Callable[..., Dataset]) -> None:
    vector = RetrievedFeature(name="embedding", view="stats", type="Array(Float32)")
    service = Service(**{**vars(SERVICE), "features": (vector,)})
    with pytest.raises(InputError, match=r"'embedding' of 'stats' is of Feast's type Array"):
        joined(service=service)


@pytest.mark.parametrize(
    ("installed", "said"),
    [("", "Feast is not installed here"), ("0.1.2", "Feast 0.1.2 is installed, and 0.67 is the")],
)
def test_another_feast_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: str, said: str
) -> None:
    if installed:
        monkeypatch.setattr(metadata, "version", lambda _: installed)
    spec = RetrievalSpec.parse(OPTIONS, where="options")
    with pytest.raises(InputError, match=said):
        retrieve(tmp_path, options=spec, output=tmp_path / "joined")


def test_a_repository_is_named_in_one_way() -> None:
    with pytest.raises(InputError, match="give one of repository and store"):
        RetrievalSpec.parse(OPTIONS | {"store": {"project": "shop"}}, where="options")


def test_whole_numbers_of_a_store_are_integers_though_kubeflow_hands_them_over_as_floats() -> None:
    """Feast refuses `entity_key_serialization_version: 3.0`."""
    handed_over = {
        "entity_key_serialization_version": 3.0,
        "registry": {"cache_ttl_seconds": 60.0, "path": "registry.db"},
        "online_store": {"ports": [6379.0], "share": 0.5, "ssl": True},
    }
    spec = RetrievalSpec.parse(
        {"service": "risk", "time": "at", "store": handed_over}, where="options"
    )
    assert json.dumps(spec.store) == json.dumps(
        {
            "entity_key_serialization_version": 3,
            "registry": {"cache_ttl_seconds": 60, "path": "registry.db"},
            "online_store": {"ports": [6379], "share": 0.5, "ssl": True},
        }
    )
