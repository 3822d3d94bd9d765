"""Ten times the users in the midst of a canary, on pods that carry only so many requests."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster_emulator import Scripted
from hpa_emulator import OVERLOADED
from kserve_world import BODIES, Driver, look_often, planned, release, serve
from running_process import until

from penstock.records.rollout import Rollout
from penstock.rollout.backends.kserve.gateway import GatewayBackend
from penstock.rollout.ending import Actions
from penstock.rollout.engine import Controller
from penstock.rollout.journal import Journal
from penstock.rollout.report import render
from penstock.rollout.spec import CanarySpec
from penstock.rollout.store import FolderStore

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stored")]

USERS, SPIKE = 30, 300
PLAN = CanarySpec.model_validate(
    {
        "interval": 0.02,
        "shadow": {"min_pairs": 30, "max_wait": 200},
        "steps": [
            {"weight": 20, "min_samples": 30, "max_wait": 300},
            {"weight": 50, "min_samples": 60, "max_wait": 300},
        ],
        # Errors decide: the machine's own speed is not what is tried here. A wide margin is shown
        # to hold after few requests.
        "rules": {
            "error_increase": 0.3,
            "refusal_increase": 0.3,
            "latency_ratio": 10**6,
            "score_psi": 10**6,
            "score_ks": 1,
        },
        "traffic": {"source": "replay", "rate": 200},
        "deadline": 600,
    }
)


@dataclass
class Shop:
    """A service whose servers load scales, and its users."""

    driver: Driver
    folder: Path
    grows: bool
    starved: bool = False
    answers: Counter[str] = field(default_factory=Counter)

    @contextlib.contextmanager
    def users(self) -> Iterator[None]:
        """Ask all the time, and count what was answered."""
        over = threading.Event()
        url = f"{self.driver.cluster.gateway_url}/v1/models/adult:predict"

        def ask() -> None:
            with httpx.Client(trust_env=False, timeout=60, verify=False) as client:
                while not over.wait(0.02):
                    answer = client.post(url, content=BODIES[0])
                    self.answers["200" if answer.status_code == 200 else answer.text] += 1

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def released(self, *, errors: float = 0.0) -> Rollout:
        """Release version 2 beside version 1; the users grow in its last step, if they do.

        Where there is no room for more servers it fails its users only once those of all requests
        are waited for.
        """
        scalers = self.driver.cluster.autoscalers
        router = self.driver.router(ready_timeout=60)
        start = self.driver.cluster.start

        def faulty(name: str, predictor: dict[str, Any]) -> Any:
            server = start(name, predictor)
            assert isinstance(server, Scripted)
            server.errors = errors if server.version == "2" and not self.starved else 0
            return server

        self.driver.cluster.start = faulty
        with router.exclusive():
            serve(router, 1)
            scalers.users = USERS
            until(lambda: self._carried(1), what="enough servers of version 1", every=0.02)
            scalers.refused.clear()

            def admitted() -> None:
                if self.grows and router.state.weight == 50:
                    scalers.users = SPIKE
                if self.starved and router.state.weight == 50:
                    scalers.room = sum(len(pods) for pods in scalers.pods.values())
                    waits = journal.rollout.last.phase == "promote"
                    self.driver.server(2).errors = errors if waits else 0

            plan = planned(service="adult").model_copy(update={"plan": PLAN.model_dump()})
            journal = Journal(FolderStore(self.folder / "rollout"))
            journal.begin(plan, reason="Approved.")
            controller = Controller(
                router=router,
                journal=journal,
                release=release(2),
                plan=PLAN,
                task="binary",
                actions=Actions(
                    require_admitted=admitted,
                    promoted=lambda: None,
                    is_champion=lambda: False,
                    rolled_back=lambda _: None,
                ),
                prove=lambda _: None,
                ready_timeout=60,
            )
            with self.users(), router.replay(BODIES, rate=PLAN.traffic.rate):
                return controller.run()

    def _carried(self, version: int) -> bool:
        """Return whether a version has the servers that its users need."""
        self.driver.ask(1)
        scalers = self.driver.cluster.autoscalers
        ready = sum(pod.ready for pod in scalers.pods[f"adult-v{version}"])
        return ready * scalers.capacity >= scalers.users

    def floor(self, version: int) -> int:
        found = self.driver.cluster.get("inferenceservices", f"adult-v{version}")
        assert found is not None
        return int(found["spec"]["predictor"]["minReplicas"])


@pytest.fixture
def shop(driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    look_often(monkeypatch)
    driver.settings = {"autoscaling": {"max_replicas": 60, "settle_seconds": 0}}
    driver.cluster.autoscalers.keeps = 0.2
    return Shop(driver, tmp_path, grows=False)


def weights(rollout: Rollout) -> list[tuple[str, int]]:
    return [(move.phase, move.weight) for move in rollout.transitions]


PROMOTED = [
    ("deploy", 0),
    ("shadow", 0),
    ("step", 20),
    ("step", 50),
    ("promote", 100),
    ("done", 100),
]


@pytest.mark.long
def test_no_request_is_more_than_the_servers_carry_while_weights_move(shop: Shop) -> None:
    rollout = shop.released()
    assert weights(rollout) == PROMOTED, rollout.reason
    assert set(shop.answers) == {"200"}
    assert shop.driver.cluster.autoscalers.refused.total() == 0
    last = rollout.of_step("step", 1)
    assert {one.replicas["stable"].least for one in last} == {4}
    assert all(one.replicas["candidate"].least >= 4 for one in last)
    assert shop.floor(2) == 1


@pytest.mark.long
def test_without_floors_the_same_rollout_fails_users(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tests above show is the floors' doing."""
    monkeypatch.setattr(GatewayBackend, "floors", lambda *_, **__: {})
    shop.driver.cluster.autoscalers.starts_in = 2
    shop.released()
    assert shop.driver.cluster.autoscalers.refused.total() > 0


@pytest.mark.long
def test_ten_times_the_users_change_no_decision(shop: Shop) -> None:
    shop.grows = True
    shop.driver.cluster.autoscalers.starts_in = 0.5
    rollout = shop.released()
    assert weights(rollout) == PROMOTED, rollout.reason
    # While new servers started, both versions had more than they carry; the gateway said so.
    assert min(shop.driver.cluster.autoscalers.refused.values()) > 0
    assert set(shop.answers) <= {"200", OVERLOADED}
    # From the promotion on it waits for the servers of all requests.
    promotion = rollout.transitions[-2].time
    last = [one for one in rollout.of_step("step", 1) if one.started < promotion]
    # 300 requests a second of 10 a server, used to 80 %: 19 servers for each half.
    assert last[-1].replicas["stable"].most == last[-1].replicas["candidate"].most == 19
    assert shop.floor(2) == 1
    before = shop.answers.copy()
    with shop.users():
        until(lambda: (shop.answers - before).total() > 50, what="users' answers", every=0.05)
    assert set(shop.answers - before) == {"200"}
    page = render(rollout)
    assert "Ready servers over time" in page
    assert "4 to 19" in page


def test_ten_times_the_users_hide_no_bad_candidate(shop: Shop) -> None:
    shop.grows = True
    rollout = shop.released(errors=0.8)
    assert rollout.outcome == "rolled_back"
    assert "server errors" in rollout.reason or "failed" in rollout.reason
    assert shop.driver.ask(20) == {"1": 20}
    assert shop.floor(1) == 1


@pytest.mark.long
def test_a_candidate_that_turns_bad_while_servers_are_waited_for_goes_back(shop: Shop) -> None:
    shop.starved = True
    rollout = shop.released(errors=0.8)
    assert rollout.outcome == "rolled_back"
    # Not for lack of servers, which it would have waited for.
    assert "server errors" in rollout.reason or "failed" in rollout.reason
    assert weights(rollout)[3:] == [
        ("step", 50), ("promote", 100), ("rollback", 0), ("done", 0)
    ]  # fmt: skip
    promotion = rollout.transitions[-3].time
    waited = [one for one in rollout.intervals if one.started > promotion]
    assert {one.weight for one in waited} == {50}
    assert sum(one.candidate.server_errors for one in waited) > 0
    assert shop.driver.ask(20) == {"1": 20}
