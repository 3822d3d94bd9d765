"""A registry, a holdout and a home, for tests that release real models to real servers."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from fresh_store import fresh_store
from running_process import RunningProcess, modules_running

from penstock.gate.policy import Policy
from penstock.model import digest_of
from penstock.notification import NotifySpec
from penstock.records.dataset import Dataset
from penstock.records.decision import Decision, RuleResult
from penstock.records.release import Deployment, Registration
from penstock.records.rollout import Order, Rollout
from penstock.registry import versions
from penstock.registry.register import register
from penstock.rollout import release
from penstock.rollout.backends.local.services import stop
from penstock.rollout.backends.local.state import LocalState
from penstock.rollout.notices import Tell, nobody, teller
from penstock.rollout.release import Outputs
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import Target, target_of

QUICK: dict[str, Any] = {
    "interval": 0.25,
    "shadow": {"min_pairs": 100, "max_wait": 60},
    "steps": [
        {"weight": 30, "min_samples": 100, "max_wait": 90},
        {"weight": 60, "min_samples": 100, "max_wait": 90},
    ],
    # Other tests run beside this one: quantiles of a busy machine are not what is tested here, and
    # a server that leaks on one is hundreds of times slower before it dies.
    "rules": {"latency_ratio": 10**6, "score_psi": 10**6, "score_ks": 1, "agreement": 0},
    "traffic": {"source": "replay", "rate": 120},
}
"""A plan whose rules judge errors alone; a test adds what it is about."""

CONTROLLER = """
import sys
from pathlib import Path
from penstock.records.rollout import Order
from penstock.rollout.release import Outputs, deploy
order, home, run, to = sys.argv[1:]
folder = Path(to)
deploy(
    Order.read(Path(order)), home=Path(home), run=run,
    outputs=Outputs(folder / "deployment.json", folder / "rollout.json", folder / "report.html"),
)
"""

POLICY: dict[str, Any] = {"approval": {"people": 0}}
"""What every decision here was made on: handed over with each order, since it is not kept."""


def decision_on(folder: Path, *, holdout: Path, **changes: Any) -> Decision:
    rule = RuleResult(
        rule="baseline", severity="block", verdict="pass", value=0.1, bound=0, sentence="Better."
    )
    fields = {
        "approved": True,
        "model": digest_of(folder),
        "dataset": Dataset.of(holdout).content,
        "evaluation": "sha256:01",
        "policy": Policy.parse(POLICY, where="gate").digest(),
        "rules": (rule,),
    }
    return Decision(**(fields | changes))


def write_holdout(folder: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa

    from penstock.data.table import write_dataset

    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    columns["since"] = [datetime.fromisoformat(text) for text in columns["since"]]
    columns["target"] = ["yes"] * len(rows)
    write_dataset([pa.table(columns)], output=folder, source="a test")
    return folder


@dataclass
class Home:
    """A folder that services of this machine live in, and the registry that they come from."""

    home: Path
    uri: str

    def place(self) -> Target:
        spec = DeploymentSpec(port=0)
        return target_of(spec, service="adult", home=self.home, tracking_uri=self.uri)

    def champion(self) -> int | None:
        found = versions.champion("adult", tracking_uri=self.uri)
        return found.version if found else None

    def processes(self) -> list[str]:
        return modules_running(self.home)


@dataclass
class World(Home):
    """A home, a registry and a holdout, and what is released there."""

    holdout: Path
    models: Callable[..., Path]
    rows: list[dict[str, Any]]
    runs: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def registered(self, depth: int, *, name: str = "adult") -> Registration:
        folder = self.models(depth=depth)
        return register(
            folder,
            decision=self.decision(depth),
            evaluation=None,
            name=name,
            tracking_uri=self.uri,
            holdout=self.holdout,
        )

    def decision(self, depth: int, **changes: Any) -> Decision:
        return decision_on(self.models(depth=depth), holdout=self.holdout, **changes)

    def outputs(self, name: str) -> Outputs:
        folder = self.home / "outputs" / name
        return Outputs(folder / "deployment.json", folder / "rollout.json", folder / "report.html")

    def order(self, depth: int, *, name: str = "adult", **changes: Any) -> Order:
        """An order of the model of that depth; `spec` and `canary` change the deployment."""
        canary = QUICK | changes.pop("canary", {})
        spec = {"port": 0, "ready_timeout": 90, "canary": canary} | changes.pop("spec", {})
        fields = {
            "registration": changes.pop("registration", None) or self.registered(depth, name=name),
            "decision": self.decision(depth),
            "deployment": spec,
            "holdout": str(self.holdout),
            "tracking_uri": self.uri,
            "policy": POLICY,
        }
        return Order(**(fields | changes))

    def release(self, depth: int, *, run: str = "", tell: Tell = nobody, **changes: Any) -> Rollout:
        run = run or f"run-{next(self.runs)}"
        return release.deploy(
            self.order(depth, **changes),
            home=self.home,
            run=run,
            outputs=self.outputs(str(depth)),
            tell=tell,
        )

    def teller(self, notify: NotifySpec, depth: int) -> Tell:
        """Return what notifies people that a canary of the model of that depth holds."""
        return teller(
            notify.model_dump(mode="json"),
            of="hold",
            registration=self.registered(depth),
            run="run",
            tracking_uri=self.uri,
        )

    def deployed(self, depth: int) -> Deployment:
        return Deployment.read(self.outputs(str(depth)).deployment)

    def state(self) -> LocalState:
        return LocalState.read(self.home / "serving" / "adult" / "state.json")

    def tags(self, version: int) -> dict[str, str]:
        found = versions.registered(f"models:/adult/{version}", tracking_uri=self.uri)
        return dict(found.tags)

    def ask(self, url: str) -> str:
        body = {"instances": self.rows[:1]}
        answer = httpx.post(
            f"{url}/v1/models/adult:predict", json=body, trust_env=False, verify=False
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["model_version"])

    @contextmanager
    def controller(self, depth: int, *, run: str, **changes: Any) -> Iterator[RunningProcess]:
        """Release in a process of its own, which is killed at the end of the block."""
        order = self.home / f"{run}.json"
        self.order(depth, **changes).write(order)
        folder = self.home / "outputs" / str(depth)
        command = [sys.executable, "-c", CONTROLLER, order, self.home, run, folder]
        process = RunningProcess(command, log=self.home / f"{run}.log")
        try:
            yield process
        finally:
            process.stop(signal.SIGKILL)


@contextmanager
def world_in(
    home: Path, *, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> Iterator[World]:
    """Yield a world in which nothing is registered yet, and stop what it serves."""
    built = World(
        home=home,
        uri=fresh_store(home),
        holdout=write_holdout(home / "holdout", instances),
        models=models,
        rows=instances,
    )
    yield built
    stop(home)
    assert built.processes() == []
