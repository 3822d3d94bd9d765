"""What a cluster's model servers are given to ship captured rows, and nothing where none are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.captures.spec import ShippedCapturesSpec
from penstock.errors import InputError
from penstock.rollout.backends.kserve import manifests
from penstock.rollout.backends.kserve.state import ClusterArm, ClusterState
from penstock.rollout.captures import captures_of
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


def _spec(**captures: Any) -> KserveSpec:
    return KserveSpec(captures=ShippedCapturesSpec(**captures))


def _predictor(spec: KserveSpec) -> dict[str, Any]:
    made = manifests.inference_service(_arm(3), service="shop", spec=spec)
    found: dict[str, Any] = made["spec"]["predictor"]
    return found


def test_nothing_is_captured_without_a_destination() -> None:
    predictor = _predictor(_spec())
    assert not any("capture" in argument for argument in predictor["model"]["args"])
    assert {"volumes", "terminationGracePeriodSeconds"}.isdisjoint(predictor)
    assert "volumeMounts" not in predictor["model"]


def test_a_server_gets_a_spool_the_address_and_the_time_to_ship_what_is_left() -> None:
    predictor = _predictor(
        _spec(destination="s3://bucket/rows", secret="store", sample=0.25, spool_megabytes=100)
    )
    options = launch.parser("server", "").parse_args(
        ["--model=/mnt/models", "--port=8080", *predictor["model"]["args"]]
    )
    assert options.capture == Path("/var/spool/penstock")
    assert (options.capture_to, options.capture_sample) == ("s3://bucket/rows", 0.25)
    assert (options.capture_bytes, options.capture_spool_bytes) == (8 << 20, 100 << 20)
    assert options.capture_seconds == 60
    assert predictor["model"]["volumeMounts"] == [
        {"name": "captures", "mountPath": "/var/spool/penstock"}
    ]
    assert predictor["volumes"] == [{"name": "captures", "emptyDir": {"sizeLimit": "164Mi"}}]
    assert predictor["model"]["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert predictor["terminationGracePeriodSeconds"] == 60


def test_a_claim_is_mounted() -> None:
    predictor = _predictor(_spec(destination="pvc://rows/of/shop"))
    assert "--capture-to=file:///mnt/captures/of/shop" in predictor["model"]["args"]
    assert predictor["volumes"][1] == {
        "name": "captures-store", "persistentVolumeClaim": {"claimName": "rows"}
    }  # fmt: skip
    assert predictor["model"]["volumeMounts"][1]["mountPath"] == "/mnt/captures"


def test_canaries_ship_as_well() -> None:
    state = ClusterState(service="shop", token="t", stable=_arm(3), candidate=_arm(4), weight=10)
    spec = _spec(destination="gs://bucket")
    service = manifests.native_service(state, spec=spec)["spec"]
    for predictor in (service["predictor"], service["canary"][0]["predictor"]):
        assert "--capture-to=gs://bucket" in predictor["model"]["args"]
    made = manifests.knative_service(_arm(3), percent=10, revision="a", service="shop", spec=spec)
    assert "--capture-to=gs://bucket" in made["spec"]["predictor"]["model"]["args"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"destination": "bucket/rows"}, "must begin with s3://"),
        ({"destination": "pvc:///rows"}, "names no claim"),
        ({"segment_megabytes": 8, "spool_megabytes": 10}, "must hold two segments"),
        ({"sample": 0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ShippedCapturesSpec.parse(fields, where="deployment.kserve.captures")


def test_where_captures_are_read(tmp_path: Path) -> None:
    def at(**fields: Any) -> str | Path:
        return captures_of(DeploymentSpec(**fields), service="shop", home=tmp_path)

    assert at() == tmp_path / "serving" / "shop" / "captures"
    shipped = _spec(destination="s3://bucket/rows/")
    assert at(router="kserve", kserve=shipped) == "s3://bucket/rows/shop"
    with pytest.raises(InputError, match="capture nothing"):
        at(router="kserve")
    with pytest.raises(InputError, match=r"reached from its pods alone.*--at"):
        at(router="kserve", kserve=_spec(destination="pvc://rows"))
