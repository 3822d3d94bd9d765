"""Who is let in at the gateway, as the overlays have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from manifests_check.schemas import Schemas
from needs import SHARED

ROOT = Path(__file__).parents[3]
DEFINITIONS = (ROOT / "build/crds", SHARED / "crds")
GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "penstock"}
Build = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    folders = [place for place in DEFINITIONS if place.is_dir()]
    return Schemas(kubernetes="1.36.1", folders=folders)


def kind(resources: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = (resource for resource in resources if resource["kind"] == name)
    return found


def test_production_asks_for_a_key_at_every_route_and_takes_it_away(built: Build) -> None:
    policy = kind(built("overlays/production"), "SecurityPolicy")
    assert policy["metadata"]["namespace"] == "penstock"
    # Of the Gateway as a whole: routes are written later, by rollouts and by KServe.
    assert policy["spec"]["targetRefs"] == [GATEWAY]
    keys = policy["spec"]["apiKeyAuth"]
    assert keys["extractFrom"] == [{"headers": ["authorization"]}]
    assert keys["sanitize"] is True
    assert "jwt" not in policy["spec"]


def test_tokens_of_a_provider_are_for_this_service_alone(built: Build) -> None:
    resources = built("checks/jwt")
    spec = kind(resources, "SecurityPolicy")["spec"]
    assert spec["targetRefs"] == [GATEWAY]
    (provider,) = spec["jwt"]["providers"]
    assert (provider["audiences"], spec["jwt"].get("optional", False)) == (["penstock"], False)
    # Reserved names: whoever forgets to name a provider lets nobody in.
    assert provider["issuer"] == "https://issuer.example.com"
    assert provider["remoteJWKS"]["uri"].startswith("https://issuer.example.com/")


def test_cert_manager_writes_the_secret_that_the_gateway_reads(built: Build) -> None:
    resources = built("checks/jwt")
    (listener,) = kind(resources, "Gateway")["spec"]["listeners"]
    (reference,) = listener["tls"]["certificateRefs"]
    certificate = kind(resources, "Certificate")
    assert certificate["spec"]["secretName"] == reference["name"]
    assert certificate["metadata"]["namespace"] == "penstock"


@pytest.mark.parametrize("folder", ["overlays/kind", "overlays/minikube"])
def test_a_laptop_s_cluster_asks_nothing(built: Build, folder: str) -> None:
    assert not [one for one in built(folder) if one["kind"] == "SecurityPolicy"]


@pytest.mark.parametrize("folder", ["overlays/production", "checks/jwt"])
def test_policies_are_as_their_definitions_have_them(
    built: Build, schemas: Schemas, folder: str
) -> None:
    ours = [r for r in built(folder) if r["kind"] in ("SecurityPolicy", "Certificate")]
    found = {resource["kind"]: schemas.check(resource) for resource in ours}
    missing = [name for name, problems in found.items() if problems is None]
    if missing:
        names = ", ".join(missing)
        pytest.skip(f"NOT TESTED: no definition of {names} is here; `make build/crds` fetches it")
    assert not any(found.values())
