"""Every overlay in namespaces of the test's own, on any cluster: `make test-cluster`.

Nothing of Penstock need be there. What belongs to the whole cluster (volumes, classes, policies of
admission) is only tried, by a server-side dry run: it would hold for others too. No pod starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cluster_site import NEEDS_CLUSTER, ROOT, asked, built, kubectl, new_name

from penstock.cluster.client import Manifest

pytestmark = [pytest.mark.slow, NEEDS_CLUSTER]

MANIFESTS = ROOT / "manifests"
OVERLAYS = sorted(
    str(found.parent.relative_to(MANIFESTS))
    for folder in ("overlays", "checks", "gitops")
    for found in MANIFESTS.glob(f"{folder}/*/kustomization.yaml")
)
UNKNOWN = ("no matches for kind", "the server could not find the requested resource")
LABEL = "penstock-test-overlay"


@dataclass(frozen=True)
class Moved:
    """An overlay's objects, whose namespaces and names for the whole cluster are the test's own.

    Attributes:
        namespaces: Those of the overlay, by what they are called now.
        inside: What lies in them.
        outside: What belongs to the whole cluster.
    """

    name: str
    namespaces: list[Manifest]
    inside: list[Manifest]
    outside: list[Manifest]


def test_every_component_is_in_an_overlay() -> None:
    """Else one of them would be tried by nothing here."""
    texts = [(MANIFESTS / name / "kustomization.yaml").read_text() for name in OVERLAYS]
    used = "\n".join(
        line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#")
    )
    components = {found.parent.name for found in MANIFESTS.glob("components/*/kustomization.yaml")}
    assert {name for name in components if f"components/{name}" not in used} == set()


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Iterator[Moved]:
    moved = _moved(built(MANIFESTS / request.param), to=new_name())
    kubectl("create", "-f", "-", stdin=_list(moved.namespaces))
    yield moved
    kubectl("delete", "namespace", "-l", f"{LABEL}={moved.name}", "--wait=false")


def _moved(objects: list[Manifest], *, to: str) -> Moved:
    homes = {item["metadata"].get("namespace", "") for item in objects} - {""}
    given = {i["metadata"]["name"]: i for i in objects if i["kind"] == "Namespace"}
    called = {home: f"{to}-{home}" for home in sorted(homes | given.keys())}
    namespaces = [
        _namespace(given.get(home, {}), called=name, of=to) for home, name in called.items()
    ]
    rest = [_renamed(item, called) for item in objects if item["kind"] != "Namespace"]
    outside = [item for item in rest if "namespace" not in item["metadata"]]
    for item in outside:
        item["metadata"]["name"] = f"{to}-{item['metadata']['name']}"
    inside = [item for item in rest if "namespace" in item["metadata"]]
    for item in inside:
        # Of a run that is not there: the cluster would remove it at once.
        item["metadata"].pop("ownerReferences", None)
        if item["kind"] == "Deployment":
            item["spec"]["replicas"] = 0
        if item["kind"] == "Gateway":
            # Of a class of the cluster it would start proxies.
            item["spec"]["gatewayClassName"] = f"{to}-{item['spec']['gatewayClassName']}"
    return Moved(name=to, namespaces=namespaces, inside=inside, outside=outside)


def _namespace(given: Manifest, *, called: str, of: str) -> Manifest:
    metadata = given.get("metadata", {})
    labels = metadata.get("labels", {}) | {LABEL: of}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata | {"name": called, "labels": labels},
    }


def _renamed(value: Any, called: dict[str, str], *, key: str = "") -> Any:
    """Return an object with every reference to a namespace led to the test's own."""
    if isinstance(value, dict):
        return {name: _renamed(each, called, key=name) for name, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, called) for each in value]
    if key in ("namespace", "kubernetes.io/metadata.name"):
        return called.get(value, value)
    return value


def _list(objects: list[Manifest]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def applied(objects: list[Manifest], *options: str) -> tuple[list[str], set[str]]:
    """Apply objects; return what was refused, and what is said of kinds that are not known."""
    done = asked(
        "apply", "--server-side", "--field-manager=penstock-test", "--validate=strict",
        *options, "-f", "-", stdin=_list(objects),
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if line and not line.startswith("Warning:")]
    unknown = {line for line in said if any(words in line for words in UNKNOWN)}
    hints = {line for line in said if line.startswith("ensure CRDs are installed")}
    return [line for line in said if line not in unknown | hints], unknown


def kinds(unknown: set[str]) -> str:
    found = {re.sub(r".*no matches for kind ", "", line) for line in unknown}
    return "; ".join(sorted(found))


def test_every_object_is_taken(overlay: Moved) -> None:
    refused, unknown = applied([*overlay.inside, *overlay.outside], "--dry-run=server")
    assert refused == []
    if unknown:
        pytest.skip(f"NOT TESTED: install on the cluster what it lacks: {kinds(unknown)}")


def test_what_lies_in_a_namespace_is_there_once_it_was_applied(overlay: Moved) -> None:
    refused, unknown = applied(overlay.inside)
    assert refused == []
    # A second time nothing changes: who applies again does not move anything.
    before = versions(overlay)
    refused, _ = applied(overlay.inside)
    assert refused == []
    assert versions(overlay) == before
    if unknown:
        pytest.skip(f"NOT TESTED: install on the cluster what it lacks: {kinds(unknown)}")


def versions(overlay: Moved) -> dict[str, int]:
    """Return the generation of everything that was applied, by its kind and name."""
    served = set(kubectl("api-versions").split())
    known = [item for item in overlay.inside if item["apiVersion"] in served]
    if not known:
        return {}
    found = json.loads(kubectl("get", "-o", "json", "-f", "-", stdin=_list(known)))
    items = found.get("items", [found])
    assert len(items) == len(known)
    return {
        f"{item['kind']} {item['metadata']['name']}": item["metadata"].get("generation", 0)
        for item in items
    }
