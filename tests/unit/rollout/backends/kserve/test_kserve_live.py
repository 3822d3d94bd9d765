"""Rollouts on users' requests: real model servers, scraped by a real Prometheus where there is one.

The emulated gateway does as Envoy does: it copies requests without a mark, and its own figures are
of no use. What stands in for Prometheus elsewhere keeps to its API; see `prometheus_server`.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kserve_site import Process, Site
from needs import program
from prometheus_server import Labels, SmallPrometheus, small_prometheus
from running_process import RunningProcess, answers, free_port, until

from penstock.records.rollout import ArmSummary, Rollout, total

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kserve-live")]

LIVE: dict[str, Any] = {
    "traffic": {"source": "live"},
    "deadline": 300,
    "shadow": {"min_pairs": 100, "max_wait": 90},
    "rules": {
        "agreement": 0,
        # Other tests run beside this one, and both versions are one and the same machine.
        "latency_ratio": 100,
        "score_psi": 20,
        "score_ks": 1,
    },
}


def targets(site: Site) -> dict[Labels, str]:
    found = {}
    for name, server in list(site.cluster.servers.items()):
        assert isinstance(server, Process)
        labels = {"namespace": "penstock", "pod": f"{name}-pod"}
        found[frozenset(labels.items())] = f"http://127.0.0.1:{server.port}"
    return found


@pytest.fixture
def small(site: Site) -> Iterator[SmallPrometheus]:
    with small_prometheus(every=0.3, targets=lambda: targets(site)) as prometheus:
        _reads(site, prometheus.url)
        site.has_served()
        yield prometheus


@contextlib.contextmanager
def real_prometheus(site: Site, folder: Path) -> Iterator[str]:
    """Yield the URL of one that scrapes what serves every second."""
    prometheus = program("prometheus", package="prometheus")
    port = free_port()
    config, listed, over = folder / "prometheus.yml", folder / "targets.json", threading.Event()
    files = {"files": [str(listed)], "refresh_interval": "1s"}
    job = {"job_name": "pods", "file_sd_configs": [files]}
    written = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    config.write_text(json.dumps(written))

    def keep() -> None:
        while not over.wait(0.3):
            groups = [
                {"targets": [url.removeprefix("http://")], "labels": dict(labels)}
                for labels, url in targets(site).items()
            ]
            beside = listed.with_suffix(".part")
            beside.write_text(json.dumps(groups))
            beside.replace(listed)

    command = [prometheus, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    thread = threading.Thread(target=keep)
    with RunningProcess(command, log=folder / "prometheus.log") as process:
        thread.start()
        try:
            process.wait_until(lambda: answers(f"{url}/-/ready"), seconds=60)
            yield url
        finally:
            over.set()
            thread.join()


def _reads(site: Site, url: str) -> None:
    site.spec["kserve"]["prometheus"] = {"url": url, "stale_after": 10}


@contextlib.contextmanager
def users_of(site: Site) -> Iterator[Counter[str]]:
    """Ask about all rows in turn, and count who answered."""
    answers: Counter[str] = Counter()
    over = threading.Event()
    address = f"{site.cluster.gateway_url}/v1/models/adult:predict"

    def ask(place: int) -> None:
        rows = site.world.rows
        with httpx.Client(trust_env=False, timeout=30, verify=False) as client:
            while not over.wait(0.01):
                place += 1
                answer = client.post(address, json={"instances": [rows[place % len(rows)]]})
                answers[f"{answer.status_code} {answer.headers['x-penstock-version']}"] += 1

    threads = [threading.Thread(target=ask, args=(place,)) for place in (0, 10)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def counted(rollout: Rollout) -> tuple[ArmSummary, ArmSummary]:
    return (
        total(interval.stable for interval in rollout.intervals),
        total(interval.candidate for interval in rollout.intervals),
    )


@pytest.mark.long
def test_a_real_prometheus_leads_to_promotion_and_to_rollback(site: Site, tmp_path: Path) -> None:
    with real_prometheus(site, tmp_path) as url:
        _reads(site, url)
        site.has_served()
        _promoted_and_rolled_back(site, good=3, bad=4)


@pytest.mark.long
def test_users_requests_lead_to_promotion_and_to_rollback(
    site: Site, small: SmallPrometheus
) -> None:
    _promoted_and_rolled_back(site, good=9, bad=10)


def _promoted_and_rolled_back(site: Site, *, good: int, bad: int) -> None:
    before = site.ask()
    with users_of(site) as answers:
        sound = site.release(good, canary=LIVE)
        answered = dict(answers)
        faulty = site.release(bad, canary=LIVE | {"shadow": {"share": 0}}, fault_injection="errors")
    assert sound.outcome == "promoted", sound.reason
    phases = [move.phase for move in sound.transitions]
    assert phases == ["deploy", "shadow", "step", "step", "promote", "done"]
    stable, candidate = counted(sound)
    assert (stable.replayed, candidate.replayed) == (0, 0)
    # Every request counts once at most, and in its own arm.
    assert 200 <= candidate.requests <= answered[f"200 {sound.candidate}"]
    assert 200 <= stable.requests <= answered[f"200 {before}"]
    copies = total(interval.pairs.candidate for interval in sound.intervals)
    assert copies.requests >= 100
    judged = {f.rule: f for f in sound.transitions[3].findings}
    assert judged["latency"].verdict == judged["scores"].verdict == "pass"
    assert sum(candidate.latency.values()) == candidate.requests
    assert sum(candidate.scores.values()) == sum(candidate.labels.values()) > 0

    assert faulty.outcome == "rolled_back"
    assert "the candidate failed" in faulty.reason, faulty.reason
    stable, candidate = counted(faulty)
    assert candidate.server_errors > 0 == stable.server_errors
    assert site.ask() == str(sound.candidate)


@pytest.mark.long
def test_without_users_nothing_is_promoted(site: Site, small: SmallPrometheus) -> None:
    steps = [{"weight": 50, "min_samples": 1, "max_wait": 6}]
    rollout = site.release(5, canary=LIVE | {"shadow": {"share": 0}, "steps": steps})
    assert rollout.outcome == "rolled_back"
    assert "Nothing was shown within the max_wait of 6 s." in rollout.reason
    assert all(arm == ArmSummary() for arm in counted(rollout))
    assert rollout.intervals[-1].blind == ""


@pytest.mark.long
def test_a_prometheus_that_falls_silent_holds_a_rollout_up_until_it_goes_back(
    site: Site, small: SmallPrometheus, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = LIVE | {"shadow": {"share": 0}, "steps": [{"weight": 50, "max_wait": 25}]}

    def fall_silent() -> None:
        until(lambda: _weight(site) == 50, seconds=120)
        small.holding = True

    waiter = threading.Thread(target=fall_silent)
    waiter.start()
    with users_of(site):
        rollout = site.release(6, canary=plan)
    waiter.join()
    assert rollout.outcome == "rolled_back"
    assert "Nothing was shown" in rollout.reason
    assert "Users' requests are not counted" in rollout.reason
    assert "was scraped last" in rollout.reason
    assert "penstock| users' requests are not counted" in capsys.readouterr().out


def _weight(site: Site) -> int:
    standing = site.place().status()
    return max((version.weight for version in standing[0].versions[1:]), default=0)


@pytest.mark.long
def test_replayed_rows_and_users_requests_count_together(
    site: Site, small: SmallPrometheus
) -> None:
    plan = LIVE | {"traffic": {"source": "both", "rate": 20}, "shadow": {"min_pairs": 50}}
    with users_of(site):
        rollout = site.release(7, canary=plan)
    assert rollout.outcome == "promoted", rollout.reason
    for arm in counted(rollout):
        assert 0 < arm.replayed < arm.requests
        # Latency is that of the replayed alone, which is measured here.
        assert 0 < sum(arm.latency.values()) <= arm.replayed
        assert sum(arm.scores.values()) == arm.requests
    latency = next(f for f in rollout.transitions[-2].findings if f.rule == "latency")
    assert "are left out: they were not measured alike" in latency.sentence
    pairs = total(interval.pairs.candidate for interval in rollout.intervals)
    assert pairs.replayed == pairs.requests


@pytest.mark.long
def test_labels_that_must_come_are_joined_behind_the_gateway(
    site: Site, small: SmallPrometheus
) -> None:
    rules = LIVE["rules"] | {"labels": "required", "min_labels": 30, "label_loss_increase": 0.9}
    plan = LIVE | {"shadow": {"share": 0}, "rules": rules}
    over = threading.Event()

    def label() -> None:
        base = f"{site.cluster.gateway_url}/v1/models/adult"
        with httpx.Client(trust_env=False, timeout=30, verify=False) as client:
            while not over.wait(0.01):
                answer = client.post(f"{base}:predict", json={"instances": site.world.rows[:1]})
                label = answer.json()["predictions"][0]
                truth = {"request_id": answer.headers["x-request-id"], "label": label}
                client.post(f"{base}:feedback", json={"labels": [truth]})

    user = threading.Thread(target=label)
    user.start()
    try:
        rollout = site.release(8, canary=plan)
    finally:
        over.set()
        user.join()
    assert rollout.outcome == "promoted", rollout.reason
    for arm in counted(rollout):
        # Every label found the version that answered its row: behind weights alone, about half.
        assert arm.labelled.requests >= 0.8 * arm.requests
    labels = next(f for f in rollout.transitions[-2].findings if f.rule == "labels")
    assert labels.verdict == "pass"
