"""A real Feast, in the environment that `make feast` makes of its own lock."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from needs import missing

from penstock.records.dataset import Dataset

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("feast_repository.py")
PYTHON = ROOT / "build" / "feast" / "bin" / "python"

PAGE = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/feast.md").read_text(), re.M | re.S)

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not PYTHON.exists():
        missing("Feast has an environment of its own, which is not here.", remedy="make feast")
    folder = tmp_path_factory.mktemp("feast")
    done = subprocess.run(
        [PYTHON, "-W", "ignore", SCRIPT, "found.json", PAGE[1]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((folder / "found.json").read_text())
    assert Dataset.of(folder / "joined").content == result["filled"]["record"]["content"]
    return result


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
