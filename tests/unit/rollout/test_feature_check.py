"""A version gets no traffic where its features are other values online than offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from feature_server import FeatureServerEmulator, feature_server
from release_models import model_in
from running_process import LOOPBACK, silent_port

from penstock.errors import InputError, PenstockError, ServiceError
from penstock.model import digest_of
from penstock.records.dataset import FILE_NAME, Dataset
from penstock.records.feature_server import FeatureServerSpec
from penstock.records.origin import Origin
from penstock.records.retrieval import FeatureRetrieval, FeatureSample, RetrievedFeature
from penstock.rollout import feature_check
from penstock.rollout.backends.kserve.manifests import inference_service
from penstock.rollout.backends.kserve.state import ClusterArm
from penstock.rollout.backends.local.servers import bring_up
from penstock.rollout.backends.local.state import ServerArm, ServiceFolder
from penstock.rollout.resume import prove
from penstock.rollout.router import Address, Release
from penstock.rollout.spec import DeploymentSpec, KserveSpec
from penstock.serving import feature_options, launch

NEWER = "2026-11-30T10:00:00Z"
SAMPLE = FeatureSample(
    as_of=datetime(2026, 11, 20, tzinfo=UTC),
    keys={"customer_id": (1, 2, 9)},
    values={"x": (0.1, 2.0, None), "unused": (1, 2, 3)},
)


@pytest.fixture
def feast() -> Iterator[FeatureServerEmulator]:
    with feature_server({1: {"x": 0.1}, 2: {"x": 2}}) as server:
        yield server


Parts = tuple[Path, Path]


def trained(
    folder: Path,
    *,
    sample: FeatureSample | None = SAMPLE,
    featured: bool = True,
    definition: str = "sha256:0",
) -> Parts:
    """A model of the column x, which is a feature, and its holdout."""
    place, holdout = model_in(folder / "model", number=1), folder / "holdout"
    holdout.mkdir()
    retrieval = FeatureRetrieval(
        service="risk", project="shop", definition="sha256:0", feast="0.67.0", entities="rows1:0",
        keys=("customer_id",), time="at", sample=sample,
        features=(
            RetrievedFeature(name="x", view="stats", type="Float64"),
            RetrievedFeature(name="unused", view="stats", type="Int64"),
        ),
    )  # fmt: skip
    origin = Origin(source={}, retrieval=retrieval if featured else None)
    record = Dataset(
        content="rows1:1", rows=1, columns=(), files=(), source="loans.csv",
        created=datetime.now(UTC), origin=origin,
    )  # fmt: skip
    record.write(place / FILE_NAME)
    other = retrieval.model_copy(update={"definition": definition})
    held = Origin(source={}, retrieval=other)
    record.model_copy(update={"origin": held}).write(holdout / FILE_NAME)
    return place, holdout


def test_equal_values_pass_and_are_counted(tmp_path: Path, feast: FeatureServerEmulator) -> None:
    assert feature_check.check(*trained(tmp_path), FeatureServerSpec(url=feast.url)) == 2


def test_without_a_feature_server_nothing_is_asked(tmp_path: Path) -> None:
    assert feature_check.check(tmp_path, tmp_path, FeatureServerSpec()) == 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({1: {"x": 0.1}, 2: {"x": 2.5}},
         "'x' of customer_id 2 is 2.5 online (PRESENT), and was 2.0 offline at 2026-11-20T00:00"),
        ({1: {"x": 0.1}}, "'x' of customer_id 2 is None online (NOT_FOUND), and was 2.0 offline"),
        ({1: {"x": (0.3, "PRESENT", NEWER)}, 2: {"x": (None, "OUTSIDE_MAX_AGE", NEWER)}},
         "nothing could be compared of the feature 'x': of the 3 entities"),
    ],
)  # fmt: skip
def test_other_values_are_refused_and_the_feature_is_named(
    tmp_path: Path, feast: FeatureServerEmulator, rows: dict[Any, Any], said: str
) -> None:
    feast.rows = rows
    with pytest.raises(PenstockError) as raised:
        feature_check.check(*trained(tmp_path), FeatureServerSpec(url=feast.url))
    assert said in str(raised.value)
    assert "feast materialize-incremental" in str(raised.value)


def test_what_was_measured_since_is_not_compared(
    tmp_path: Path, feast: FeatureServerEmulator
) -> None:
    feast.rows = {1: {"x": (7.0, "PRESENT", NEWER)}, 2: {"x": 2.0}}
    assert feature_check.check(*trained(tmp_path), FeatureServerSpec(url=feast.url)) == 1


def test_nothing_to_compare_is_no_pass(tmp_path: Path, feast: FeatureServerEmulator) -> None:
    with pytest.raises(PenstockError, match="has no entities to compare"):
        feature_check.check(*trained(tmp_path, sample=None), FeatureServerSpec(url=feast.url))


def test_a_model_without_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trained with no features of a feature service"):
        feature_check.check(
            *trained(tmp_path, featured=False), FeatureServerSpec(url="http://feast")
        )


def test_a_holdout_of_other_definitions_is_refused(tmp_path: Path) -> None:
    parts = trained(tmp_path, definition="sha256:1")
    with pytest.raises(InputError, match="has features of 'risk' as it is defined there"):
        feature_check.check(*parts, FeatureServerSpec(url="http://feast"))


def test_a_feature_server_that_is_away_is_no_pass(tmp_path: Path) -> None:
    parts = trained(tmp_path)
    with silent_port() as port, pytest.raises(PenstockError, match="does not answer"):
        feature_check.check(*parts, FeatureServerSpec(url=f"http://{LOOPBACK}:{port}"))


def release_of(folder: Path, *, export: str = "") -> Release:
    return Release(
        uri="models:/shop/3", version=3, model=digest_of(folder), folder=folder, export=export
    )


def test_a_rollout_compares_before_it_asks_the_server(
    tmp_path: Path, feast: FeatureServerEmulator
) -> None:
    """Of the order only its settings are read, so a stand-in has them alone."""
    feast.rows[2] = {"x": 2.5}
    model, holdout = trained(tmp_path)
    order: Any = SimpleNamespace(deployment={"features": {"url": feast.url}}, holdout=holdout)
    router: Any = None
    with pytest.raises(ServiceError, match=r"the feature 'x' of customer_id 2 is 2\.5 online"):
        prove(router, Address("http://nobody"), order, release_of(model), rows=1)


def test_a_server_of_this_machine_is_told(tmp_path: Path, exported: Callable[..., Any]) -> None:
    """It refuses to start: its model was trained with no features."""
    made = exported()
    spec = FeatureServerSpec(url="http://feast:6566")
    folder = ServiceFolder(tmp_path, "shop", features=spec)
    folder.make()
    with pytest.raises(ServiceError, match="trained with no features of a feature service"):
        bring_up(folder, ServerArm.of(release_of(made.folder, export=made.digest)), timeout=60)


def test_a_server_of_a_cluster_is_told() -> None:
    given = {"url": "http://feast:6566", "timeout": 0.5, "missing": "null"}
    spec = KserveSpec.parse({"features": given}, where="deployment.kserve")
    arm = ClusterArm(
        version=3, name="shop-v3", backend="shop-v3", uri="models:/shop/3", model="sha256:0",
        storage="s3://models/shop",
    )  # fmt: skip
    made = inference_service(arm, service="shop", spec=spec)["spec"]["predictor"]["model"]
    options = launch.parser("server", "").parse_args(["--model=m", "--port=1", *made["args"]])
    assert feature_options.spec_of(options) == FeatureServerSpec(**given)
    without = inference_service(arm, service="shop", spec=KserveSpec())["spec"]["predictor"]
    assert not any("feature" in argument for argument in without["model"]["args"])


def test_each_router_has_its_own() -> None:
    given = {"features": {"url": "http://here"}, "kserve": {"features": {"url": "http://there"}}}
    local = DeploymentSpec.parse(given, where="deployment")
    cluster = DeploymentSpec.parse(given | {"router": "kserve"}, where="deployment")
    assert (local.feature_server.url, cluster.feature_server.url) == ("http://here", "http://there")
