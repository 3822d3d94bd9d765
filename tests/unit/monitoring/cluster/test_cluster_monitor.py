"""The monitor of a service on a cluster: an emulated one, with a store for captures and state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_shop import ClusterShop, PodFigures, cluster_shop, copied, s3_bucket
from image_imports import HIDE, hidden_from
from killing import Fault, run
from prometheus_server import small_prometheus
from role_rights import allowed, used

from penstock.common import claims
from penstock.errors import InputError, LeaseLostError, ServiceError
from penstock.records.monitoring import Looked, MonitorState, Verdict

pytestmark = pytest.mark.slow

WATCHERS = Path(__file__).parents[4] / "manifests/base/access/watcher.yaml"


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("shop") as address:
        yield address


@pytest.fixture
def here(tmp_path: Path) -> Iterator[ClusterShop]:
    with cluster_shop(tmp_path) as made:
        yield made


def test_rows_that_pods_shipped_are_watched_and_drift_is_told_once(
    bucket: str, tmp_path: Path
) -> None:
    with cluster_shop(tmp_path, store=bucket) as site:
        site.serve()
        site.cluster.calls.clear()
        first = site.look()
        assert used(site.cluster.calls) <= allowed(WATCHERS)
        assert (first.kind, first.version) == ("healthy", 1)
        assert first.reasons[-1].startswith("Errors and latency of the server are not watched: ")
        site.serve(shift=1.0)
        found = site.look()
        assert found.kind in ("drifted", "degraded")
        assert "amount" in found.columns
        state = site.state
        assert (state.totals.looks, state.totals.rows, state.totals.lost) == (2, 4000, 0)
        assert [one.number for one in site.monitor.folder.recent(Looked, most=9)] == [1, 2]
        told = site.told
        assert len(told) == len(set(told))
        page = site.monitor.folder.storage.read(".", "index.html").decode()
        assert found.headline in page
        assert site.monitor.folder.link == f"{bucket}/state/shop/monitor/index.html"


def test_it_concludes_what_the_monitor_of_a_laptop_does(tmp_path: Path) -> None:
    with cluster_shop(tmp_path) as site:
        for shift in (0.0, 0.0, 0.6, 0.6):
            site.serve(1000, labels=True, shift=shift)
            cluster = site.look()
            site.shop.hours -= 1
            laptop = site.shop.look()
            same = {"reasons", "headline"} ^ set(Verdict.model_fields)
            assert cluster.model_dump(include=same) == laptop.model_dump(include=same)
        assert site.state.progress.detector == site.shop.state.progress.detector


@pytest.mark.long
def test_killed_at_any_write_no_row_counts_twice_and_none_is_missed(here: ClusterShop) -> None:
    here.serve(400)
    here.look()
    here.serve(400, labels=True)
    store = Path(here.store.removeprefix("file://"))
    before = here.shop.folder / "before"
    copied(store, before)
    every = int(os.environ.get("PENSTOCK_EFFECTS_EVERY", "7"))
    at, hit = 2, True
    while hit:
        copied(before, store)
        ending = run(here.look, Fault.KILL, at=at, below=[store])
        hit = ending.hit
        # What was killed holds its lease still, as the cluster sees it.
        here.cluster.delete("leases", "penstock-monitor-shop")
        here.look()
        state = here.state
        assert (state.totals.rows, state.seen) == (800, 800), ending.effects[-1:]
        assert state.number in (2, 3)
        here.shop.hours -= 1
        at += every
    assert at > 20


def test_a_second_one_is_told_who_watches(here: ClusterShop) -> None:
    with here.monitor.held(), pytest.raises(ServiceError, match="is watching it") as refused:
        here.look()
    assert "wait until that look has ended" in str(refused.value)


def test_who_has_lost_the_lease_writes_nothing(here: ClusterShop) -> None:
    here.serve(400)
    monitor = here.monitor
    with monitor.held():
        here.cluster.delete("leases", "penstock-monitor-shop")
        with pytest.raises(LeaseLostError):
            monitor.look()
    assert here.state.number == 0
    assert here.monitor.folder.recent(Looked, most=9) == []


def test_without_rows_it_is_blind(here: ClusterShop) -> None:
    assert here.look().kind == "blind"
    here.serve()
    assert here.look().kind == "healthy"
    assert [here.look().kind for _ in range(3)][-1] == "blind"


def test_what_cannot_be_seen_is_a_sentence(here: ClusterShop) -> None:
    here.kserve = {}
    (said,) = here.look().reasons[:1]
    assert said.startswith("Its rows cannot be watched: deployment.kserve.captures.destination: ")
    here.kserve = {"captures": {"destination": "pvc://rows"}}
    assert "a claim of the cluster is reached from pods" in here.look().reasons[0]
    here.cluster.delete("httproutes", "shop")
    assert here.look().reasons[0].startswith("Nothing is being served.")
    here.spec = {"state": ""}
    with pytest.raises(InputError, match="it is not said where the monitor of shop keeps"):
        here.look()


def test_a_claim_is_read_where_it_is_mounted(
    here: ClusterShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = here.shop.folder / "mnt"
    (mount / "watch").mkdir(parents=True)
    monkeypatch.setattr(claims, "MOUNT", mount)
    here.spec = {"state": "pvc://watch/of/shops"}
    monitor = here.monitor
    with monitor.held():
        monitor.folder.write(MonitorState(service="shop"))
    assert (mount / "watch/of/shops/shop/monitor/state.json").is_file()


def test_what_the_registry_cannot_give_is_missed(tmp_path: Path) -> None:
    with cluster_shop(tmp_path) as site:
        site.release(2)
        found = site.look()
        assert found.version == 2
        assert any("It is not known what version 2 takes" in one for one in found.blind)
        assert any("The performance of version 2" in one for one in found.blind)


@pytest.mark.long
def test_a_look_needs_nothing_that_its_image_has_not(here: ClusterShop) -> None:
    here.serve(labels=True)
    watcher = here.watcher
    given = {
        "deployment": watcher.deployment.model_dump(mode="json", exclude_defaults=True),
        # Its clock is this machine's, and the shop's rows are weeks old.
        "monitoring": watcher.spec.model_dump(mode="json", exclude_defaults=True)
        | {"volume": {"newest_within": 1e6}},
    }
    done = subprocess.run(
        [sys.executable, "-c", _LOOK, ",".join(hidden_from("monitor")), json.dumps(given)],
        cwd=here.shop.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "healthy"


_LOOK = (
    HIDE
    + """
import json
from pathlib import Path
from penstock.monitoring.cluster.monitor import look_once, watcher_of
watcher = watcher_of("shop", **json.loads(sys.argv[2]), notify={}, tracking_uri="http://127.0.0.1:9")
print(look_once(watcher, verdict=Path("verdict.json"), report=Path("report.html")))
"""
)


def test_pods_that_fail_requests_make_it_degraded_and_no_figures_make_it_blind(
    here: ClusterShop,
) -> None:
    with small_prometheus() as prometheus:
        here.kserve["prometheus"] = {"url": prometheus.url}
        here.serve()
        unknown = here.look()
        assert unknown.kind == "blind"
        assert "Errors and latency of the server cannot be watched" in unknown.blind[0]

        figures = PodFigures(prometheus)
        (pod,) = here.watcher.target().ready_pods(here.watcher.target().serving())
        figures.answers(pod, 1, 500)
        figures.scrape()
        here.serve()
        assert here.look().kind == "healthy"
        figures.answers(pod, 1, 500, errors=100)
        figures.scrape()
        here.serve()
        found = here.look()
        assert (found.kind, found.cause) == ("degraded", "operations")
        assert "20.0 % of 500 requests" in found.reasons[0]
