"""`retrieve_features` in its image, on a repository and a table that Feast made in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from image_pipeline import features
from image_site import hardened
from kfp import local

from penstock.data.table import read_table
from penstock.records.dataset import Dataset

if TYPE_CHECKING:
    import docker

SCRIPTS = Path(__file__).parents[1] / "unit" / "feature_store"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]


@pytest.fixture
def made(engine: docker.DockerClient, feast: str, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A folder with `feature_repo` and `entities`, and what `retrieve` said of them."""
    folder = tmp_path / "root"
    folder.mkdir()
    folder.chmod(0o777)
    engine.containers.run(
        feast,
        ["python", "-W", "ignore", "/scripts/feast_repository.py", "found.json", "pass"],
        remove=True,
        working_dir=str(folder),
        volumes={
            str(folder): {"bind": str(folder), "mode": "rw"},
            str(SCRIPTS): {"bind": "/scripts", "mode": "ro"},
        },
        **hardened(engine, feast),
    )
    return folder, json.loads((folder / "found.json").read_text())


def test_a_table_is_joined_as_of_the_time_of_each_row(
    engine: docker.DockerClient, feast: str, made: tuple[Path, dict[str, Any]]
) -> None:
    folder, found = made
    # It sees this folder alone, at the same path.
    local.init(runner=local.DockerRunner(**hardened(engine, feast)), pipeline_root=str(folder))
    configuration = json.loads((folder / "feature_repo" / "feature_store.yaml").read_text())
    store = configuration | {"offline_store": {"type": "duckdb"}}
    options = {"service": "risk", "time": "at", "store": store}
    features(entities=str(folder / "entities"), options=options)
    (joined,) = folder.glob("features-*/retrieve-features/dataset")
    rows = read_table(joined).to_pylist()
    assert [(row["customer_id"], row["paid"]) for row in rows] == [
        (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (9, 0)
    ]  # fmt: skip
    # A late correction says 30; of the customers 3 and 9 nothing was known then.
    assert [row["orders"] for row in rows] == [3, 4, 7, 7, None, 1, None]
    assert [row["city"] for row in rows] == ["Bonn", "Bonn", "Kiel", "Kiel", None, "Ulm", None]
    record = Dataset.of(joined)
    assert record.origin is not None
    assert record.origin.retrieval is not None
    assert record.origin.retrieval.service == "risk"
    assert record.content == found["duckdb"]["record"]["content"]


def test_rows_that_feast_drops_are_refused_by_name(made: tuple[Path, dict[str, Any]]) -> None:
    _, found = made
    assert "customer_id 3 at " in found["refused"]["refused"]
