"""A service with a champion, versions to try and users, wherever it serves."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from rollout_world import POLICY, QUICK, World
from running_process import until

import penstock
from penstock.gate.policy import Policy
from penstock.notification import NotifySpec
from penstock.records.experiment import ExperimentOrder
from penstock.registry.evidence import Grounds
from penstock.registry.register import register
from penstock.rollout.experiment import running
from penstock.rollout.experiment.papers import Place
from penstock.rollout.experiment.spec import ExperimentSpec
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import Target

USERS = [f"user-{number}" for number in range(60)]
SPEC = ExperimentSpec(window="1s", every="1s", effect=0.3, baseline=0.3, weight=20)

CONTROLLER = """
import json, sys
from pathlib import Path
from penstock.notification import NotifySpec
from penstock.records.experiment import ExperimentOrder
from penstock.rollout.experiment.papers import Place
from penstock.rollout.experiment.running import run
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import target_of
order, home, spec = sys.argv[1:]
found = ExperimentOrder.read(Path(order))
home, uri = Path(home), found.tracking_uri
spec = DeploymentSpec.model_validate(json.loads(spec))
target = target_of(spec, service="adult", home=home, tracking_uri=uri)
run(target, place=Place(home, uri, NotifySpec(), home), order=lambda: found)
"""
"""Drives the order of a file: its arguments are that file, the home and `deployment` as JSON."""


class ExperimentSite:
    """What experiments are tried on; a subclass says where it serves.

    Args:
        world: Registry, models and rows.
        notify: Who is notified of an end.
        seconds: What an experiment may take to begin, and to end.
    """

    def __init__(self, world: World, *, notify: NotifySpec, seconds: float) -> None:
        self.world = world
        self.place = Place(world.home, world.uri, notify, world.home)
        self.ids = iter(range(10**9))
        self.draw = random.Random(7)
        self._seconds = seconds

    @property
    def target(self) -> Target:
        """Where it serves."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where its users send requests."""
        raise NotImplementedError

    @property
    def deployment(self) -> dict[str, Any]:
        """Its section `deployment`."""
        raise NotImplementedError

    def has_begun(self) -> bool:
        """Whether users are assigned."""
        raise NotImplementedError

    def register(self, depth: int, *, champion: int = 1) -> int:
        """Register a version that the gate approved, and that nothing has served."""
        done = register(
            self.world.models(depth=depth),
            decision=self.world.decision(
                depth,
                champion=f"models:/adult/{champion}",
                commit="abc123",
                code=penstock.__version__,
            ),
            evaluation=None,
            name="adult",
            tracking_uri=self.world.uri,
            holdout=self.world.holdout,
            grounds=Grounds(policy=Policy.parse(POLICY, where="gate")),
        )
        return done.version

    def order(
        self,
        version: int | None,
        *,
        weight: int = 20,
        rules: dict[str, Any] | None = None,
        **changes: Any,
    ) -> ExperimentOrder:
        """The order of an experiment with a version; None: with the newest one."""
        canary = {"rules": QUICK["rules"] | (rules or {})}
        deployment = self.deployment | {"ready_timeout": 90, "canary": canary} | changes
        target = self.target
        with target.router.exclusive():
            return running.new_order(
                target,
                version=version,
                spec=SPEC.model_copy(update={"weight": weight}),
                deployment=DeploymentSpec.parse(deployment, where=""),
                cost=None,
                tracking_uri=self.world.uri,
                by="ann",
                holdouts=lambda: iter([self.world.holdout]),
            )

    @contextmanager
    def running(self, order: ExperimentOrder) -> Iterator[list[Any]]:
        """Run an experiment beside the block, and wait for its end after it."""
        ended: list[Any] = []

        def work() -> None:
            try:
                ended.append(running.run(self.target, place=self.place, order=lambda: order))
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            until(lambda: bool(ended) or self.has_begun(), seconds=self._seconds, every=0.2)
            yield ended
        finally:
            thread.join(self._seconds)

    def visit(
        self, users: Sequence[str], *, worth: Callable[[int], float] | None = None
    ) -> dict[str, int]:
        """Each user asks once, and sends what came of it; return the versions that answered."""
        found = {}
        with httpx.Client(base_url=self.url, trust_env=False, timeout=30, verify=False) as client:
            for user in users:
                request = f"q{next(self.ids)}"
                answer = client.post(
                    "/v1/models/adult:predict",
                    json={"instances": self.world.rows[:1]},
                    headers={"x-user-id": user, "x-request-id": request},
                )
                if answer.status_code != 200:
                    continue
                found[user] = int(answer.json()["model_version"])
                if worth is not None:
                    value = {"request_id": request, "value": worth(found[user])}
                    sent = client.post("/v1/models/adult:feedback", json={"labels": [value]})
                    assert sent.json() == {"values": 1}, sent.text
        return found
