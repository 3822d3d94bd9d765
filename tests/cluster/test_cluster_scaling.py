"""Ten times the users in the midst of a canary whose servers load scales: `make test-cluster`.

Needs metrics-server besides what the other tests need. The same journey on the emulated cluster:
tests/unit/rollout/backends/kserve/test_kserve_spike.py. No cluster has run this one yet.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator

import pytest
from cluster_journey import Journey, Stage
from cluster_site import ASKED, NAMESPACE, NEEDS_CLUSTER, asked, objects, site_in
from running_process import until

METRICS = "/apis/metrics.k8s.io/v1beta1"
MOST = 4

pytestmark = [
    pytest.mark.slow,
    NEEDS_CLUSTER,
    pytest.mark.skipif(
        ASKED and asked("get", "--raw", METRICS).returncode != 0,
        reason="NOT RUN: no metrics-server on this cluster, so nothing scales by load",
    ),
]


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    scaling = {"max_replicas": MOST, "target": 20, "settle_seconds": 10}
    with site_in(tmp_path_factory.mktemp("scaling")) as site:
        yield Journey(site, autoscaling=scaling)


def weight(journey: Journey) -> int:
    """Return the candidate's present share, as the service's route has it."""
    found = objects("httproutes", NAMESPACE, f"penstock/service={journey.site.name}")
    texts = [one["metadata"]["annotations"]["penstock/state"] for one in found]
    return max((json.loads(text)["weight"] for text in texts), default=0)


@contextlib.contextmanager
def growing(journey: Journey) -> Iterator[None]:
    """Ask all the time, and ten times as much once the candidate has a share."""
    over = threading.Event()

    def grow() -> None:
        with contextlib.suppress(TimeoutError, AssertionError):
            until(lambda: over.is_set() or weight(journey) > 0, seconds=900, every=2)
        with journey.users.asking(times=9):
            over.wait()

    spike = threading.Thread(target=grow)
    with journey.users.asking():
        spike.start()
        try:
            yield
        finally:
            over.set()
            spike.join()


@pytest.fixture(scope="module")
def spiked(journey: Journey) -> Stage:
    assert journey.first.done.returncode == 0, journey.first.said
    trees = {"trials": 3, "folds": 2, "candidates": ["hist_gradient_boosting"]}
    with growing(journey):
        return journey.run(training=trees)


def test_ten_times_the_users_change_no_decision(spiked: Stage) -> None:
    assert spiked.done.returncode == 0, spiked.said
    assert spiked.phases == ["deploy", "shadow", "step", "step", "promote", "done"]
    assert [m.weight for m in spiked.rollout.transitions if m.phase == "step"] == [20, 50]
    # What servers at their limit do not carry is a 503 of the gateway or none at all; no other.
    statuses = {told.partition(" ")[0] for told in spiked.answers}
    assert statuses <= {"200", "503"}, spiked.answers
    assert spiked.answers.total() > 1_000


def test_the_candidate_has_the_servers_of_its_share_before_it_has_it(spiked: Stage) -> None:
    for number, share in enumerate((20, 50)):
        first = spiked.rollout.of_step("step", number)[0].replicas
        needed = -(-share * first["stable"].least // (100 - share))
        assert first["candidate"].most >= min(needed, MOST), first


def test_the_stable_version_is_not_shrunk(spiked: Stage) -> None:
    seen = [one.replicas["stable"] for one in spiked.rollout.intervals]
    held = seen[0].least
    assert all(one.least >= held for one in seen), seen


def test_the_floor_is_given_back(journey: Journey, spiked: Stage) -> None:
    assert spiked.done.returncode == 0, spiked.said
    (left,) = objects("inferenceservices", NAMESPACE, f"penstock/service={journey.site.name}")
    assert left["spec"]["predictor"]["minReplicas"] == 1
    name = f"{left['metadata']['name']}-predictor"
    scalers = objects("horizontalpodautoscalers", NAMESPACE)
    (scaler,) = (one for one in scalers if one["metadata"]["name"] == name)
    bounds = scaler["spec"]
    assert (bounds["minReplicas"], bounds["maxReplicas"]) == (1, MOST)
