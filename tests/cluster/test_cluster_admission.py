"""What an existing cluster takes and refuses, by server-side dry runs: `make test-cluster`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_site import (
    DEPLOYER,
    NAMESPACE,
    NEEDS_CLUSTER,
    ROOT,
    asked,
    built,
    kubectl,
    new_name,
    setting,
)

from penstock.cluster.client import Manifest
from penstock.rollout.autoscaling_spec import AutoscalingSpec, StabilizationSpec
from penstock.rollout.backends.kserve import manifests, routes
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.spec import KserveSpec
from penstock.rollout.state import Assignment

pytestmark = [pytest.mark.slow, NEEDS_CLUSTER]

OVERLAYS = ("overlays/kind", "overlays/minikube", "overlays/production", "checks/optional")
UNKNOWN = ("no matches for kind", "the server could not find the requested resource")


def named(manifest: Manifest) -> str:
    place = manifest["metadata"].get("namespace", "")
    return f"{manifest['kind']} {place}/{manifest['metadata']['name']}"


def known(manifest: Manifest) -> bool:
    """Return whether the server knows the kind."""
    group = manifest["apiVersion"].rpartition("/")[0]
    found = asked("api-resources", f"--api-group={group}", "--no-headers")
    assert found.returncode == 0, found.stderr
    return manifest["kind"] in {line.split()[-1] for line in found.stdout.splitlines()}


@pytest.fixture(scope="module", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> list[Manifest]:
    return built(ROOT / "manifests" / request.param)


def applied(manifest: Manifest) -> str:
    """Return what the server says to an object written over the one that is there, if one is."""
    done = asked(
        "apply", "--server-side", "--force-conflicts", "--field-manager=penstock-test",
        "--dry-run=server", "--validate=strict", "-f", "-", stdin=json.dumps(manifest),
    )  # fmt: skip
    return done.stderr.strip()


def renamed(manifest: Manifest) -> Manifest:
    return manifest | {"metadata": manifest["metadata"] | {"name": new_name()}}


def test_every_object_of_an_overlay_is_taken(overlay: list[Manifest]) -> None:
    """Onto what is there, or beside it where another overlay's object cannot become this one."""
    same = overlay == built()
    refused = {}
    taken = 0
    for manifest in overlay:
        said = applied(manifest)
        if said and not same:
            said = created(renamed(manifest))
        if not said:
            taken += 1
        elif not any(words in said for words in UNKNOWN):
            refused[named(manifest)] = said
    assert refused == {}
    assert taken > 20


def test_every_kind_of_an_overlay_is_known(overlay: list[Manifest]) -> None:
    kinds = {(item["apiVersion"], item["kind"]): item for item in overlay}
    unknown = [" ".join(key) for key, item in kinds.items() if not known(item)]
    if unknown:
        pytest.skip(f"NOT TESTED: install on the cluster what it lacks: {', '.join(unknown)}")


def pod(**security: Any) -> Manifest:
    """Return a pod that `restricted` admits but for what is changed."""
    confined = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": new_name(), "namespace": NAMESPACE},
        "spec": {
            "containers": [
                {"name": "main", "image": "busybox:1", "securityContext": confined | security}
            ]
        },
    }


def created(manifest: Manifest, *options: str) -> str:
    """Return what the server says to it; nothing if it is taken without a word."""
    done = asked(
        "create", "--dry-run=server", "--validate=strict", "-f", "-", *options,
        stdin=json.dumps(manifest),
    )  # fmt: skip
    assert done.returncode == 0 or done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("security", "words"),
    [
        ({"runAsUser": 0}, "runAsUser=0"),
        ({"runAsNonRoot": False}, "runAsNonRoot != true"),
        ({"privileged": True, "allowPrivilegeEscalation": True}, "privileged"),
        ({"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}, "NET_ADMIN"),
    ],
)
def test_the_namespace_refuses_a_pod_that_is_not_confined(
    security: dict[str, Any], words: str
) -> None:
    assert created(pod()) == ""
    said = created(pod(**security))
    assert 'violates PodSecurity "restricted' in said
    assert words in said


def test_nothing_goes_in_or_out_that_no_policy_names() -> None:
    found = kubectl("get", "networkpolicy", "default-deny", "-n", NAMESPACE, "-o", "json")
    spec = json.loads(found)["spec"]
    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def arm(version: int, **changes: Any) -> ClusterArm:
    service = "penstock-test"
    fields = {
        "version": version,
        "name": f"{service}-v{version}",
        "backend": f"{service}-v{version}-predictor",
        "uri": f"models:/{service}/{version}",
        "model": f"sha256:{version:064}",
        "export": f"sha256:{version:064}",
        "storage": f"pvc://models/{version}",
    }
    return ClusterArm(**(fields | changes))


def states() -> dict[str, ClusterState]:
    """Return a service at each point of its life."""
    one, two, sick = arm(1), arm(2), arm(2, fault="errors")
    given: dict[str, dict[str, Any]] = {
        "first": {"candidate": one},
        "alone": {"stable": one},
        "shadow": {"stable": one, "candidate": two, "assignment": Assignment(mirror=0.5)},
        "step": {
            "stable": one,
            "candidate": two,
            "weight": 20,
            "assignment": Assignment(choice_header="x-version"),
        },
        "fault": {"stable": one, "candidate": sick},
        "retiring": {"stable": two, "retired": one},
    }
    return {
        name: ClusterState(service="penstock-test", token="0123456789abcdef", **fields)
        for name, fields in given.items()
    }


def scaled() -> dict[str, ClusterArm]:
    """Return a version for each way in which load scales its servers."""
    behavior = StabilizationSpec(scale_down_seconds=600)
    specs = {
        "cpu": AutoscalingSpec(max_replicas=5),
        "memory": AutoscalingSpec(max_replicas=5, metric="memory"),
        "keda": AutoscalingSpec(autoscaler="keda", max_replicas=5, behavior=behavior),
        "external": AutoscalingSpec(autoscaler="external"),
        "none": AutoscalingSpec(autoscaler="none", min_replicas=2),
    }
    return {kind: arm(1, autoscaling=spec) for kind, spec in specs.items()}


def written() -> Iterator[tuple[str, Manifest]]:
    """Yield every manifest that the routers write, by what is going on."""
    gateway = setting("GATEWAY", "penstock")
    spec = KserveSpec(namespace=NAMESPACE, gateway=gateway, replicas=2)
    for name, state in states().items():
        yield f"route-{name}", routes.http_route(state, spec=spec)
        host = "penstock-test.example.com"
        arms = routes.arms_route(state, name="penstock-test-arms", host=host, spec=spec)
        yield f"arms-{name}", arms
        yield f"native-{name}", manifests.native_service(state, spec=spec)
        for each in state.roles().values():
            alone = manifests.inference_service(each, service="penstock-test", spec=spec)
            yield f"service-{name}-{each.name}", alone
    for kind, each in scaled().items():
        alone = manifests.inference_service(each, service="penstock-test", spec=spec)
        yield f"service-scaled-{kind}", alone


@pytest.mark.parametrize("name", [name for name, _ in written()])
def test_what_a_router_writes_is_taken_from_the_deployer(name: str) -> None:
    assert created(dict(written())[name], f"--as={DEPLOYER}") == ""


def test_a_field_that_is_not_known_is_refused() -> None:
    """Else the test above could not fail."""
    wrong = dict(written())["route-step"]
    wrong["spec"]["rules"][0]["backendRefs"][0]["wait"] = 20
    assert 'unknown field "spec.rules[0].backendRefs[0].wait"' in created(wrong)
