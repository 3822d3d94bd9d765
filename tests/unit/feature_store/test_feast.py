"""A real Feast, in the environment that `make feast` makes of its own lock."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from needs import missing
from running_process import LOOPBACK, RunningProcess, answers, free_port

from penstock.errors import ServiceError
from penstock.records.dataset import Dataset
from penstock.records.feature_server import FeatureServerSpec
from penstock.records.retrieval import FeatureRetrieval
from penstock.rollout import feature_check
from penstock.serving.feature_server import FeatureServer

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("feast_repository.py")
PYTHON = ROOT / "build" / "feast" / "bin" / "python"

PAGE = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/feast.md").read_text(), re.M | re.S)

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feast")


@pytest.fixture(scope="module")
def found(home: Path) -> dict[str, Any]:
    if not PYTHON.exists():
        missing("Feast has an environment of its own, which is not here.", remedy="make feast")
    done = subprocess.run(
        [PYTHON, "-W", "ignore", SCRIPT, "found.json", PAGE[1]],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=600,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((home / "found.json").read_text())
    assert Dataset.of(home / "joined").content == result["filled"]["record"]["content"]
    return result


@pytest.fixture(scope="module")
def served(home: Path, found: dict[str, Any]) -> Iterator[FeatureServerSpec]:
    """Feast's own server, of what is online."""
    port = free_port()
    command = [PYTHON.with_name("feast"), "-c", home / "feature_repo", "serve", "-p", str(port)]
    process = RunningProcess(list(map(str, command)), log=home / "server.log")
    url = f"http://{LOOPBACK}:{port}"
    process.wait_until(lambda: answers(f"{url}/health"), seconds=300)
    yield FeatureServerSpec(url=url, timeout=30)
    process.stop()


def retrieval_in(found: dict[str, Any], **changes: Any) -> FeatureRetrieval:
    recorded = found["duckdb"]["record"]["origin"]["retrieval"]
    return FeatureRetrieval.model_validate_json(json.dumps(recorded | changes))


def column(joined: dict[str, Any], name: str) -> list[Any]:
    return [row[name] for row in joined["rows"]]


@pytest.mark.parametrize("kind", ["filled", "duckdb"])
def test_each_row_has_what_was_known_then(found: dict[str, Any], kind: str) -> None:
    joined = found[kind]
    assert column(joined, "customer_id") == [1, 1, 2, 2, 3, 3, 9]
    assert column(joined, "paid") == [0, 1, 0, 1, 0, 1, 0]
    # The late correction says 30.
    assert column(joined, "orders") == [3, 4, 7, 7, None, 1, None]
    assert column(joined, "city") == ["Bonn", "Bonn", "Kiel", "Kiel", None, "Ulm", None]
    assert column(joined, "active") == [True, True, False, False, None, True, None]
    # As the online store keeps it, in 32 bits.
    assert column(joined, "spent")[0] == 10.100000381469727


def test_two_offline_stores_give_the_same_digest(found: dict[str, Any]) -> None:
    records = [found[kind]["record"] for kind in ("filled", "duckdb")]
    assert records[0]["content"] == records[1]["content"]
    definitions = {record["origin"]["retrieval"]["definition"] for record in records}
    assert len(definitions) == 1


def test_rows_that_the_join_dropped_are_not_passed_over(found: dict[str, Any]) -> None:
    assert found["refused"]["error"] == "InputError"
    assert "gave 5 of 6 entities and times" in found["refused"]["refused"]
    assert "customer_id 3 at " in found["refused"]["refused"]
    assert found["filled"]["record"]["origin"]["retrieval"]["filled"] == 1
    assert found["duckdb"]["record"]["origin"]["retrieval"]["filled"] == 0


def test_the_record_names_what_was_joined(found: dict[str, Any]) -> None:
    retrieval = found["duckdb"]["record"]["origin"]["retrieval"]
    assert (retrieval["service"], retrieval["project"]) == ("risk", "shop")
    assert retrieval["feast"].startswith("0.67.")
    assert retrieval["keys"] == ["customer_id"]
    features = {feature["name"]: feature["type"] for feature in retrieval["features"]}
    assert features == {"orders": "Int64", "spent": "Float32", "city": "String", "active": "Bool"}
    present = dict(
        zip(retrieval["sample"]["keys"]["customer_id"], retrieval["sample"]["values"]["orders"],
            strict=True)
    )  # fmt: skip
    assert present == {1: 4, 2: 7, 3: 1, 9: None}


def test_a_view_that_dates_nothing_is_named(found: dict[str, Any]) -> None:
    # Of values measured at one time Feast takes any: 3, or the later 30.
    leaking = found["leaking"]
    assert leaking["record"]["origin"]["retrieval"]["undated"] == ["plain"]
    assert any("'plain' does not say when" in note for note in leaking["record"]["notes"])


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        (
            "no service",
            "InputError",
            "'shop' has no FeatureService 'rsik'. There are: leaking, risk",
        ),
        ("no repository", "InputError", "/nowhere: there is no feature_store.yaml"),
        ("away", "ServiceError", "options.store: the re"),
    ],
)
def test_what_cannot_be_asked_is_said(
    found: dict[str, Any], kind: str, error: str, said: str
) -> None:
    assert found[kind]["error"] == error
    assert said in found[kind]["refused"]


def test_the_feature_server_has_what_the_offline_store_had(
    found: dict[str, Any], served: FeatureServerSpec
) -> None:
    """Of three entities: the fourth has none."""
    retrieval = retrieval_in(found)
    assert feature_check.compare(retrieval, retrieval.features, served) == 3 * 4


def test_another_value_offline_is_refused_by_name(
    found: dict[str, Any], served: FeatureServerSpec
) -> None:
    sample = json.loads(json.dumps(found["duckdb"]["record"]["origin"]["retrieval"]["sample"]))
    sample["values"]["spent"] = [None if v is None else v + 0.25 for v in sample["values"]["spent"]]
    retrieval = retrieval_in(found, sample=sample)
    with pytest.raises(ServiceError, match="the feature 'spent' of customer_id"):
        feature_check.compare(retrieval, retrieval.features, served)


def test_the_feature_server_says_what_is_missing_and_how_old_it_is(
    found: dict[str, Any], served: FeatureServerSpec
) -> None:
    features = retrieval_in(found).features
    server = FeatureServer(served.url, service="risk", features=features, timeout=30)
    online = server.ask({"customer_id": [1, 9]})
    assert online["orders"].values == [4, None]
    # Written in 64 bits offline, kept in 32 online.
    assert online["spent"].values == [12.5, None]
    assert online["city"].statuses == ["PRESENT", "NOT_FOUND"]
    age = datetime.now(UTC) - online["city"].times[0]
    assert timedelta(days=19) < age < timedelta(days=22)


def test_another_service_is_none_of_the_server(
    found: dict[str, Any], served: FeatureServerSpec
) -> None:
    features = retrieval_in(found).features
    server = FeatureServer(served.url, service="rsik", features=features, timeout=30)
    with pytest.raises(ServiceError, match=r"answered 404.*rsik does not exist"):
        server.ask({"customer_id": [1]})
