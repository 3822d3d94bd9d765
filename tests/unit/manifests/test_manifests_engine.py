"""What a step makes on a cluster for its engine, held against the manifests that it needs."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import engine_objects
import pytest
import yaml
from manifests_check.__main__ import check, read_versions
from manifests_check.schemas import Schemas
from needs import shared

ROOT = Path(__file__).parents[3]
COMPONENT = ROOT / "manifests/components/engine"
ACCESS = COMPONENT.parents[1] / "base/access"


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    name = "kubernetes.dask.org_daskclusters.yaml"
    places = [folder / name for folder in (shared("crds"), ROOT / "build/crds")]
    definition = next((place for place in places if place.is_file()), None)
    if definition is None:
        pytest.skip(f"NOT TESTED: {name} is not here. make build/crds fetches it.")
    # Alone: the others are long.
    folder = tmp_path_factory.mktemp("crds")
    shutil.copy(definition, folder)
    return Schemas(kubernetes=read_versions()["KUBERNETES_VERSION"], folders=[folder])


def resources() -> list[dict[str, Any]]:
    """Return the component with a step's cluster, and the accounts that it names."""
    files = [*COMPONENT.glob("[an]*.yaml"), ACCESS / "accounts.yaml"]
    found = [one for path in files for one in yaml.safe_load_all(path.read_text()) if one]
    mine = [one for one in found if one["metadata"].get("namespace") == "kubeflow"]
    accounts = {"penstock-pipeline", "penstock-deployer"}
    return [
        engine_objects.written(),
        *(
            one
            for one in mine
            if one["kind"] != "ServiceAccount" or one["metadata"]["name"] in accounts
        ),
    ]


def problems(found: list[dict[str, Any]], schemas: Schemas) -> list[str]:
    told, _ = check("engine", found, schemas=schemas)
    return [str(problem) for problem in told]


def test_the_example_is_what_is_made() -> None:
    assert engine_objects.main("--check") == 0


def test_it_keeps_every_policy_and_the_operators_schema(schemas: Schemas) -> None:
    assert schemas.check(engine_objects.written()) == []
    assert problems(resources(), schemas) == []


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("securityContext", {}, "spec.worker.spec.containers[0].securityContext"),
        ("resources", {}, "spec.worker.spec.containers[0].resources.limits.memory"),
        ("livenessProbe", {"tcpSocket": {"port": 8789}}, "8789 is not of type 'string'"),
        ("image", "penstock/data", "has neither tag nor digest"),
    ],
)
def test_each_of_them_could_fail(schemas: Schemas, field: str, value: object, told: str) -> None:
    found = copy.deepcopy(resources())
    found[0]["spec"]["worker"]["spec"]["containers"][0][field] = value
    assert any(told in problem for problem in problems(found, schemas))


def test_the_openings_are_those_of_its_ports() -> None:
    made, *others = resources()
    policies = {
        one["metadata"]["name"]: one["spec"] for one in others if one["kind"] == "NetworkPolicy"
    }
    for part, policy in (("scheduler", "engine-scheduler"), ("worker", "engine-workers")):
        (container,) = made["spec"][part]["spec"]["containers"]
        ports = {one["containerPort"] for one in container["ports"]}
        opened = {port["port"] for rule in policies[policy]["ingress"] for port in rule["ports"]}
        assert opened == ports
        labels = {**made["metadata"]["labels"], "dask.org/component": part}
        selected = policies[policy]["podSelector"]["matchLabels"]
        assert selected.items() <= labels.items()
    # Without the labels of the operator nothing is meant.
    assert "dask.org/component" not in made["metadata"]["labels"]
