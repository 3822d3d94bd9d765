"""Rows that name an entity: their features come from a feature server, or a sentence does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from feature_server import RECORDED, FeatureServerEmulator, feature_server
from running_process import LOOPBACK, silent_port
from serving_process import ROW, Server, Start, v2_body

from penstock.errors import InputError, ServiceError
from penstock.records.dataset import FILE_NAME, Dataset, Profile, ProfiledColumn
from penstock.records.feature_server import FeatureServerSpec
from penstock.records.model import Model
from penstock.records.origin import Origin
from penstock.records.retrieval import FeatureRetrieval, RetrievedFeature
from penstock.serving.feature_server import FeatureServer
from penstock.serving.online_features import OnlineFeatures, online_features
from penstock.serving.request_errors import RequestError

FEATURES = {"hours per-week": 41.5, "job": "pilot"}
BY_KEY = {"customer_id": 1, **{k: v for k, v in ROW.items() if k not in FEATURES}}
RETRIEVAL = FeatureRetrieval(
    service="risk",
    project="shop",
    definition="sha256:0",
    feast="0.67.0",
    entities="rows1:0",
    keys=("customer_id",),
    time="since",
    features=(
        RetrievedFeature(name="hours per-week", view="stats", type="Float32"),
        RetrievedFeature(name="job", view="stats", type="String"),
        RetrievedFeature(name="unused", view="stats", type="Int64"),
    ),
)
STALE = (None, "OUTSIDE_MAX_AGE", "2025-01-01T00:00:00Z")
NULL = (None, "NULL_VALUE", "2026-11-10T00:00:00Z")


@pytest.fixture(scope="module")
def folder(models: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained with features of a service."""
    place = tmp_path_factory.mktemp("featured") / "model"
    shutil.copytree(models(), place)
    columns = [*Model.read(place / "penstock.json").columns]
    profile = Profile(nulls=0, distinct=1)
    table = [ProfiledColumn(name="customer_id", type="integer", profile=profile)]
    table += [ProfiledColumn(name=c.name, type=c.type, profile=profile) for c in columns]
    Dataset(
        content="rows1:1", rows=1, columns=tuple(table), files=(), source="loans.csv",
        created=datetime.now(UTC), origin=Origin(source={}, retrieval=RETRIEVAL),
    ).write(place / FILE_NAME)  # fmt: skip
    return place


@pytest.fixture(scope="module")
def feast() -> Iterator[FeatureServerEmulator]:
    rows = {
        1: {**FEATURES, "unused": 7},
        2: {"hours per-week": 20.1, "job": NULL, "unused": 7},
        3: {"hours per-week": STALE, "job": "nurse", "unused": 7},
    }
    with feature_server(rows) as server:
        yield server


@pytest.fixture(autouse=True)
def _well(feast: FeatureServerEmulator) -> Iterator[None]:
    yield
    feast.status, feast.said, feast.delay = 200, b"", 0.0


@pytest.fixture(scope="module")
def server(start: Start, folder: Path, feast: FeatureServerEmulator) -> Server:
    return start(folder, "--feature-server", feast.url, "--feature-timeout", "5")


def in_process(folder: Path, url: str, **settings: Any) -> OnlineFeatures:
    record = Model.read(folder / "penstock.json")
    spec = FeatureServerSpec(url=url, **settings)
    return online_features(folder, record, spec=spec, labels={"model": "adult"})


def completed(features: OnlineFeatures, **keys: Any) -> dict[str, Any]:
    rows = len(next(iter(keys.values())))
    rest = {name: [value] * rows for name, value in BY_KEY.items() if name != "customer_id"}
    return dict(features.completed({**rest, **keys}, row="instances[{}]"))


def test_a_row_that_names_an_entity_is_answered_as_the_whole_row(server: Server) -> None:
    by_key, whole = server.predict(BY_KEY), server.predict(ROW)
    assert by_key.status_code == 200, by_key.text
    assert by_key.json() == whole.json()


def test_every_protocol_takes_it(server: Server, feast: FeatureServerEmulator) -> None:
    whole = server.predict(ROW).json()["predictions"]
    columns = list(BY_KEY)
    split = {"dataframe_split": {"columns": columns, "data": [[BY_KEY[c] for c in columns]]}}
    assert server.client.post("/invocations", json=split).json()["predictions"] == whole
    body = v2_body([ROW])
    kept = [tensor for tensor in body["inputs"] if tensor["name"] in BY_KEY]
    key = {"name": "customer_id", "datatype": "INT64", "shape": [1], "data": [1]}
    answer = server.client.post("/v2/models/adult/infer", json={"inputs": [key, *kept]}).json()
    labels = next(o["data"] for o in answer["outputs"] if o["name"] != "probabilities")
    assert labels == whole
    assert feast.asked[-1] == {"feature_service": "risk", "entities": {"customer_id": [1]}}


def test_what_it_asks_is_counted(server: Server) -> None:
    name = "penstock_online_features_total"
    before = server.metric(name, feature="job", status="PRESENT")
    missing = server.metric(name, feature="job", status="NOT_FOUND")
    server.predict(BY_KEY)
    server.predict({**BY_KEY, "customer_id": 9})
    assert server.metric(name, feature="job", status="PRESENT") == before + 1
    assert server.metric(name, feature="job", status="NOT_FOUND") == missing + 1
    assert server.metric("penstock_online_feature_age_seconds_count", feature="job") >= before + 1
    assert server.metric("penstock_feature_server_duration_seconds_count", outcome="answered") > 0


@pytest.mark.parametrize(
    ("key", "status", "said"),
    [
        (9, 422, 'no value of "hours per-week" for customer_id 9 (NOT_FOUND)'),
        (3, 422, 'no value of "hours per-week" for customer_id 3 (OUTSIDE_MAX_AGE)'),
        (1.5, 400, 'entity key "customer_id": expected a whole number, got 1.5'),
        (None, 400, 'entity key "customer_id": expected a whole number, got null'),
    ],
)
def test_an_entity_without_features_is_refused_in_words(
    server: Server, key: Any, status: int, said: str
) -> None:
    answer = server.predict({**BY_KEY, "customer_id": key})
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_a_stored_null_is_a_missing_value(server: Server) -> None:
    answer = server.predict({**BY_KEY, "customer_id": 2})
    row = {**ROW, "hours per-week": 20.100000381469727, "job": None}
    assert answer.json() == server.predict(row).json()


def test_a_server_that_is_away_is_said_and_whole_rows_go_on(
    server: Server, feast: FeatureServerEmulator
) -> None:
    before = server.metric("penstock_feature_server_duration_seconds_count", outcome="failed")
    feast.status, feast.said = 500, b'"the online store is gone"'
    answer = server.predict(BY_KEY)
    assert answer.status_code == 503
    assert 'answered 500: "the online store is gone"' in answer.json()["error"]
    assert server.predict(ROW).status_code == 200
    failed = server.metric("penstock_feature_server_duration_seconds_count", outcome="failed")
    assert failed == before + 1


@pytest.mark.parametrize(
    "said", [b"<html>", b"[]", b"{}", b'{"results": [], "metadata": {"feature_names": ["job"]}}']
)
def test_what_is_no_feature_server_is_said(
    folder: Path, feast: FeatureServerEmulator, said: bytes
) -> None:
    feast.said = said
    with pytest.raises(RequestError, match="is no feature server of this service") as raised:
        completed(in_process(folder, feast.url), customer_id=[1])
    assert raised.value.status == 503


def test_one_that_is_slow_or_gone_is_not_waited_for(
    folder: Path, feast: FeatureServerEmulator
) -> None:
    features = in_process(folder, feast.url, timeout=0.2)
    assert completed(features, customer_id=[1])["job"] == ["pilot"]
    feast.delay = 1.0
    with pytest.raises(RequestError, match=r"does not answer within 0.2 s"):
        completed(features, customer_id=[1])
    with silent_port() as port, pytest.raises(RequestError, match="does not answer"):
        completed(in_process(folder, f"http://{LOOPBACK}:{port}", timeout=0.2), customer_id=[1])


def test_missing_features_are_null_where_the_settings_say_so(
    folder: Path, feast: FeatureServerEmulator
) -> None:
    found = completed(in_process(folder, feast.url, missing="null"), customer_id=[1, 3, 9])
    assert found["hours per-week"] == [41.5, None, None]
    assert found["job"] == ["pilot", "nurse", None]


def test_the_answer_of_a_real_server_is_read(feast: FeatureServerEmulator) -> None:
    feast.said = RECORDED
    features = [
        RetrievedFeature(name=name, view="stats", type=kind)
        for name, kind in {"orders": "Int64", "spent": "Float32", "city": "String"}.items()
    ]
    asked = FeatureServer(feast.url, service="risk", features=features, timeout=5)
    found = asked.ask({"customer_id": [1, 2, 3, 9]})
    assert found["orders"].values == [4, 7, 1, None]
    assert found["spent"].values == [12.5, 0.5, 1.5, None]
    assert found["city"].statuses == ["PRESENT"] * 3 + ["NOT_FOUND"]
    assert found["city"].times[0] == datetime(2026, 11, 10, tzinfo=UTC)
    with pytest.raises(ServiceError, match="4 values of orders for 2 entities"):
        asked.ask({"customer_id": [1, 2]})


def test_a_model_without_features_asks_for_none(models: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="trained with no features of a feature service"):
        in_process(models(), "http://feast:6566")


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="must begin with http"):
        FeatureServerSpec.parse({"url": "feast:6566"}, where="deployment.features")
