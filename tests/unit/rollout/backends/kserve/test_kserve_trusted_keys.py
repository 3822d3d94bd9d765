"""What a cluster's model servers are given to check signatures, and nothing where none are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kserve_world import Driver

from penstock.captures.spec import ShippedCapturesSpec
from penstock.cluster.client import CONFIG_MAPS
from penstock.errors import InputError
from penstock.rollout.backends.kserve import manifests
from penstock.rollout.backends.kserve.admitted import NAME, admit
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.spec import DeploymentSpec, KserveSpec
from penstock.serving import launch


def _arm(version: int) -> ClusterArm:
    return ClusterArm(
        version=version,
        name=f"shop-v{version}",
        backend=f"shop-v{version}-predictor",
        uri=f"models:/shop/{version}",
        model="sha256:0",
        storage="s3://models/shop",
    )


def _predictors(spec: KserveSpec) -> list[dict[str, Any]]:
    """The predictors of every router: alone, as canary, as Knative's revision."""
    state = ClusterState(service="shop", token="t", stable=_arm(3), candidate=_arm(4), weight=10)
    native = manifests.native_service(state, spec=spec)["spec"]
    alone = manifests.inference_service(_arm(3), service="shop", spec=spec)["spec"]
    knative = manifests.knative_service(
        _arm(3), percent=None, revision="1", service="shop", spec=spec
    )["spec"]
    canary = native["canary"][0]["predictor"]
    return [native["predictor"], canary, alone["predictor"], knative["predictor"]]


def test_without_keys_nothing_is_mounted() -> None:
    for predictor in _predictors(KserveSpec()):
        assert not any("trust" in argument for argument in predictor["model"]["args"])
        assert "volumes" not in predictor
        assert "volumeMounts" not in predictor["model"]


@pytest.mark.parametrize("destination", ["", "s3://bucket/rows"])
def test_every_server_mounts_the_keys_and_is_told_of_them(destination: str) -> None:
    captures = ShippedCapturesSpec(destination=destination)
    for predictor in _predictors(KserveSpec(trusted_keys="our-keys", captures=captures)):
        model = predictor["model"]
        options = launch.parser("server", "").parse_args(
            ["--model=/mnt/models", "--port=8080", *model["args"]]
        )
        (mount,) = [m for m in model["volumeMounts"] if m["mountPath"] == str(options.trust)]
        assert options.trust == Path("/etc/penstock/trusted-keys")
        assert mount["readOnly"]
        (volume,) = [v for v in predictor["volumes"] if v["name"] == mount["name"]]
        # It is not optional: without the keys the pod does not start.
        assert volume["configMap"] == {"name": "our-keys"}
        assert len(predictor["volumes"]) == len(model["volumeMounts"]) == (2 if destination else 1)


def test_two_releases_at_once_lose_no_digest(driver: Driver) -> None:
    kube, other = driver.kube(), driver.kube()
    admit(kube, [_arm(3)], namespace="penstock")
    replace = kube.replace

    def raced(path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        kube.replace = replace  # type: ignore[method-assign]
        admit(other, [_arm(4).model_copy(update={"model": "sha256:4"})], namespace="penstock")
        return replace(path, manifest)

    kube.replace = raced  # type: ignore[method-assign]
    admit(kube, [_arm(5).model_copy(update={"model": "sha256:5"})], namespace="penstock")
    written = kube.get(CONFIG_MAPS.path("penstock", NAME))
    assert written is not None
    assert written["data"] == {"0": "sha256:0", "4": "sha256:4", "5": "sha256:5"}


def test_what_is_no_name_of_a_config_map_is_refused() -> None:
    with pytest.raises(InputError, match="trusted_keys"):
        KserveSpec.parse({"trusted_keys": "Our Keys"}, where="deployment.kserve")


def test_keys_for_this_machine_alone_do_not_leave_a_cluster_without_any() -> None:
    given = {"router": "kserve-gateway", "trusted_keys": "trusted"}
    with pytest.raises(InputError, match=r"name a ConfigMap with kserve\.trusted_keys too"):
        DeploymentSpec.parse(given, where="deployment")
    both = DeploymentSpec.parse(given | {"kserve": {"trusted_keys": "k"}}, where="deployment")
    assert both.kserve.trusted_keys == "k"
