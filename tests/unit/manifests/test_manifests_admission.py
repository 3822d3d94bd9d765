"""The admission policies let through what releases write, and refuse what is changed in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml
from cluster_emulator import running
from kserve_world import Driver, release, storage_by_name

from penstock.cluster.client import CONFIG_MAPS, INFERENCE_SERVICES
from penstock.rollout.backends.kserve.admitted import NAME
from penstock.rollout.backends.kserve.choice import ROUTERS

Manifest = dict[str, Any]
Refused = Callable[..., list[str]]

FOLDER = Path(__file__).parents[3] / "manifests/components/signatures"
DEPLOYER = "system:serviceaccount:kubeflow:penstock-deployer"


def policy(name: str) -> Manifest:
    documents = [d for p in FOLDER.glob("*.yaml") for d in yaml.safe_load_all(p.read_text())]
    (found,) = [
        d
        for d in documents
        if d["kind"] == "ValidatingAdmissionPolicy" and d["metadata"]["name"] == name
    ]
    return dict(found["spec"])


def refusals(spec: Manifest, **given: Any) -> list[str]:
    """Return the messages of the validations that fail, as the API server evaluates them."""
    conditions = spec.get("matchConditions", [])
    if not all(cel.evaluate(one["expression"], given) for one in conditions):
        return []
    variables = {v["name"]: cel.evaluate(v["expression"], given) for v in spec.get("variables", ())}
    seen = {**given, "variables": variables}
    messages = []
    for one in spec["validations"]:
        try:
            passes = cel.evaluate(one["expression"], seen) is True
        except Exception:  # failurePolicy: Fail
            passes = False
        if not passes:
            messages.append(str(one["message"]))
    return messages


@pytest.fixture(scope="module", params=sorted(ROUTERS))
def released(request: pytest.FixtureRequest) -> Iterator[tuple[list[Manifest], Manifest]]:
    """The InferenceServices of a release in its canary, and the ConfigMap of what was admitted."""
    with pytest.MonkeyPatch.context() as patch, running() as cluster:
        storage_by_name(patch)
        cluster.install_knative()
        driver = Driver(cluster, ROUTERS[request.param])
        router = driver.router(trusted_keys="penstock-trusted-keys")
        with router.exclusive():
            router.open()
            for version in (1, 2):
                router.deploy(release(version), timeout=20)
                if version == 1:
                    router.promote(1)
        written = driver.kube().get(CONFIG_MAPS.path("penstock", NAME))
        services = driver.kube().items(INFERENCE_SERVICES.path("penstock"))
        assert written is not None
        assert services
        yield copy.deepcopy(services), copy.deepcopy(written)


def test_what_a_release_writes_is_let_through(released: tuple[list[Manifest], Manifest]) -> None:
    services, written = released
    spec = policy("penstock-model-servers")
    assert len(written["data"]) == 2
    for service in services:
        assert refusals(spec, object=service, params=written) == []
        assert refusals(spec, object=service, params={**written, "data": {"x": "sha256:x"}})


def test_captures_are_shipped_with_the_keys_of_one_secret(
    released: tuple[list[Manifest], Manifest],
) -> None:
    services, written = released
    service = copy.deepcopy(services[0])
    for name, taken in (("captures-store", True), ("mine", False)):
        service["spec"]["predictor"]["model"]["envFrom"] = [{"secretRef": {"name": name}}]
        said = refusals(policy("penstock-model-servers"), object=service, params=written)
        assert (said == []) is taken


def _annotated(service: Manifest) -> None:
    for key in service["metadata"]["annotations"]:
        if key.startswith("penstock/digest"):
            service["metadata"]["annotations"][key] = "sha256:other"


def _arguments(change: Callable[[list[str]], Any]) -> Callable[[Manifest], Any]:
    def changed(service: Manifest) -> None:
        change(service["spec"]["predictor"]["model"]["args"])

    return changed


def _both_to_another(service: Manifest) -> None:
    _annotated(service)
    for predictor in (
        service["spec"]["predictor"],
        *(c["predictor"] for c in service["spec"].get("canary", [])),
    ):
        arguments = predictor["model"]["args"]
        arguments[:] = [
            "--digest=sha256:other" if a.startswith("--digest") else a for a in arguments
        ]


CHANGES: dict[str, tuple[Callable[[Manifest], Any], str]] = {
    "another annotation": (_annotated, "--digest must be there once, and be the digest of the"),
    "a second digest": (
        _arguments(lambda args: args.append("--digest=sha256:other")),
        "must be there once",
    ),
    "a digest in two words": (
        _arguments(lambda args: args.extend(["--digest", "sha256:other"])),
        "must be there once",
    ),
    "both to what no release admitted": (_both_to_another, "not in the ConfigMap"),
    "no signatures asked for": (
        _arguments(lambda args: args.remove("--trust=/etc/penstock/trusted-keys")),
        "must ask for signatures",
    ),
    "other keys": (
        _arguments(lambda args: args.append("--trust=/mnt/models/keys")),
        "must ask for signatures",
    ),
    "keys from another ConfigMap": (
        lambda s: s["spec"]["predictor"]["volumes"][0]["configMap"].update(name="mine"),
        "must ask for signatures",
    ),
    "something mounted over the code": (
        lambda s: s["spec"]["predictor"]["model"]["volumeMounts"].append(
            {"name": "mine", "mountPath": "/opt/penstock/lib"}
        ),
        "must ask for signatures",
    ),
    "another image": (
        lambda s: s["spec"]["predictor"]["model"].update(image="evil"),
        "Only Penstock's server",
    ),
    "another command": (
        lambda s: s["spec"]["predictor"]["model"].update(command=["sh"]),
        "Only Penstock's server",
    ),
    "environment from elsewhere": (
        lambda s: s["spec"]["predictor"]["model"].update(
            envFrom=[{"configMapRef": {"name": "mine"}}]
        ),
        "Only Penstock's server",
    ),
    # `python -m` looks there first.
    "the model's folder as where code lies": (
        lambda s: s["spec"]["predictor"]["model"].update(workingDir="/mnt/models"),
        "Only Penstock's server",
    ),
    "a command at its start": (
        lambda s: s["spec"]["predictor"]["model"].update(
            lifecycle={"postStart": {"exec": {"command": ["sh"]}}}
        ),
        "Only Penstock's server",
    ),
    "a command as its probe": (
        lambda s: s["spec"]["predictor"]["model"].update(
            startupProbe={"exec": {"command": ["sh"]}}
        ),
        "Only Penstock's server",
    ),
    "workers beside": (
        lambda s: s["spec"]["predictor"].update(workerSpec={"containers": [{"name": "x"}]}),
        "Only Penstock's server",
    ),
    # KServe starts such an image as a container of the pod.
    "an image as the model": (
        lambda s: s["spec"]["predictor"]["model"].update(storageUri="oci://evil/image"),
        "Only Penstock's server",
    ),
    "files over the code": (
        lambda s: s["spec"]["predictor"].update(
            storageUris=[{"uri": "s3://evil/x", "mountPath": "/opt/penstock/lib"}]
        ),
        "Only Penstock's server",
    ),
    "a container beside": (
        lambda s: s["spec"]["predictor"].update(containers=[{"name": "x"}]),
        "Only Penstock's server",
    ),
    "a model from elsewhere": (
        _arguments(lambda args: args.append("--model=/tmp/other")),
        "Only Penstock's server",
    ),
    "no model": (lambda s: s["spec"]["predictor"].pop("model"), "Only Penstock's server"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_in_it_is_refused(
    released: tuple[list[Manifest], Manifest], change: str
) -> None:
    services, written = released
    make, message = CHANGES[change]
    service = copy.deepcopy(services[0])
    make(service)
    said = refusals(policy("penstock-model-servers"), object=service, params=written)
    assert any(message in one for one in said), said
    # It can still be deleted: its finalizers are an update.
    service["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    assert refusals(policy("penstock-model-servers"), object=service, params=written) == []


@pytest.mark.parametrize(
    ("name", "user", "taken"),
    [
        (NAME, DEPLOYER, True),
        (NAME, "system:serviceaccount:kubeflow:penstock-pipeline", False),
        (NAME, "ann@example.com", False),
        ("penstock-trusted-keys", "ann@example.com", True),
        ("penstock-trusted-keys", "system:serviceaccount:argocd:argocd", True),
        ("penstock-trusted-keys", DEPLOYER, False),
        ("penstock-trusted-keys", "system:serviceaccount:penstock:penstock-server", False),
        ("penstock-adult", DEPLOYER, True),
    ],
)
def test_who_writes_what_they_rest_on(name: str, user: str, taken: bool) -> None:
    request = {"name": name, "userInfo": {"username": user}}
    assert (refusals(policy("penstock-admission-records"), request=request) == []) is taken
