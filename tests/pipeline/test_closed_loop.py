"""The closed loop on a cluster: the compiled pipeline, run after run, and no other command.

The cluster is emulated; its model servers, the store (S3), the registry, users' requests and the
training are real. A run of Kubeflow is one of kfp.local, of which a Workflow is in the cluster.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cluster_shop import s3_bucket
from compiled_pipeline import without_retries
from kserve_site import Site, site_in
from receivers import Received, receivers
from role_rights import allowed, used
from running_process import RunningProcess, until

from penstock.captures.reader import read_labels, read_window
from penstock.examples import traffic
from penstock.monitoring.cluster.monitor import ClusterMonitor
from penstock.pipelines.compile import compile_monitor, compile_release
from penstock.project import Project
from penstock.records.monitoring import MonitorState
from penstock.registry import versions

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.xdist_group("closed-loop")]

DEPLOYER = Path(__file__).parents[2] / "manifests/base/access/deployer.yaml"
NAME = "simulated-transactions"
ROWS = 9_000
"""Rows that users send before a look: enough that one look sees what has changed."""

AT_FIRST = 3_000
"""Rows before anything changes. A retraining may take them too, and must still not be good on them:
else nothing is recalled when all is as it was at first."""

GATE = {"baseline": {"margin": 0.0}, "champion": {"margin": 0.99}, "classes": {"margin": 0.99}}
"""Some dozens of frauds are held out: a finer margin cannot be told from nothing."""

CANARY = {
    "interval": 0.5,
    "deadline": 600,
    "shadow": {"min_pairs": 100},
    "steps": [{"weight": 50, "min_samples": 100}],
    "rules": {"latency_ratio": 10**6},
    "traffic": {"source": "replay", "rate": 100},
}

PLACES = {"webhook": "${env:LOOP_WEBHOOK}", "cloudevents": "${env:LOOP_EVENTS}"}
"""Addresses that may hold a secret are no part of what is compiled."""

RUN = """
import sys
from pathlib import Path
compiled, run = sys.argv[1:]
from kfp import components, local
from kfp.local import placeholder_utils
placeholder_utils.make_random_id = lambda: run
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=f"out/{run}", raise_on_error=False)
from penstock.pipelines.local_runner import LocalSteps, started_by
from penstock.pipelines.warm import WarmSteps
with WarmSteps(log=Path(f"out-{run}.imports")) as steps, started_by(LocalSteps(steps)):
    components.load_component_from_file(compiled)()
"""


@dataclass
class Loop:
    """A service on a cluster whose monitor acts, and its users."""

    site: Site
    store: str
    home: Path
    uri: str
    received: Received
    runs: int = 0
    heard: int = 0
    sent: int = 0
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        path = self.home / "example" / "project.yaml"
        raw = yaml.safe_load(path.read_text())
        captures = {"destination": f"{self.store}/rows", "segment_seconds": 1}
        kserve = self.site.spec["kserve"] | {"captures": captures}
        return raw | {
            "source": {"uri": str(self.home / "example" / "simulated-transactions.csv")},
            # Its interval is narrow also where some dozens of frauds are held out.
            "training": {"trials": 1, "folds": 2, "candidates": ["linear"], "metric": "log_loss"},
            "gate": GATE,
            "deployment": {"router": "kserve-gateway", "kserve": kserve, "canary": CANARY},
            "monitoring": {
                "state": f"{self.store}/state",
                "retrain": "automatic",
                "retrain_rows": 6_000,
                "cooldown": 0,
                "actions_per_month": 20,
                "recall": {"labels": 200},
                "recall_rows": 2_500,
            },
            "notify": self.received.spec.model_dump(mode="json") | PLACES,
            "tracking_uri": "",
        }

    @property
    def project(self) -> Project:
        return Project.parse(self.settings | self.changes, where="test")

    @property
    def watcher(self) -> ClusterMonitor:
        made = self.project
        return ClusterMonitor(
            service=NAME, deployment=made.deployment, spec=made.monitoring, notify=made.notify,
            tracking_uri=self.uri,
        )  # fmt: skip

    @property
    def state(self) -> MonitorState:
        return self.watcher.monitor().folder.read_only(service=NAME)

    def champion(self) -> versions.Version:
        found = versions.champion(NAME, tracking_uri=self.uri)
        assert found is not None
        return found

    def told(self) -> list[tuple[str, str]]:
        """Return kind and text of what people got since the last time, the same at each place.

        But for the file: what is compiled names none, and looks of this process write into it.
        """
        self.received.require_same(file=False, since=self.heard)
        new = self.received.events[self.heard :]
        self.heard += len(new)
        kinds = [event["type"].removeprefix("io.penstock.") for event in new]
        return list(zip(kinds, (event["data"]["text"] for event in new), strict=True))

    def release(self, **changes: Any) -> str:
        """Release a version by the release pipeline, with other settings for this one."""
        with self.releasing(**changes) as process:
            process.wait(1200)
        return process.output()

    @contextlib.contextmanager
    def releasing(self, **changes: Any) -> Iterator[RunningProcess]:
        """Begin a release by the release pipeline; it is killed with the block."""
        compiled = self.home / "release.yaml"
        project = Project.parse(self.settings | self.changes | changes, where="test")
        compile_release(project, output=compiled)
        documents = list(yaml.safe_load_all(compiled.read_text()))
        uri = str(self.home / "example" / "simulated-transactions.csv")
        documents[0]["root"]["inputDefinitions"]["parameters"]["uri"]["defaultValue"] = uri
        compiled.write_text(yaml.safe_dump_all(documents))
        with self.running(compiled) as process:
            yield process

    def serve(self, *, drift: float = 0.0, rows: int = ROWS) -> None:
        """Send what users send and its labels, and wait until all of it is in the store."""
        url = self.site.cluster.gateway_url
        sent = traffic.send(url, name=NAME, rows=rows, seed=100 + self.sent, drift=drift)
        traffic.label(url, name=NAME, labels=sent.labels)
        self.sent += rows
        kept = self.watcher.captures()
        until(lambda: read_window(kept, after=None).rows >= self.sent, seconds=300, every=1)
        until(lambda: read_labels(kept, after=None)[0].num_rows >= self.sent, seconds=300, every=1)

    @contextlib.contextmanager
    def running(self, compiled: Path) -> Iterator[RunningProcess]:
        """Begin a run of Kubeflow; its Workflow says that it has ended when the block has."""
        self.runs += 1
        run = f"run-{self.runs}"
        compiled.write_text(without_retries(compiled.read_text()))
        self._workflow(run, "Running")
        command = [sys.executable, "-W", "ignore", "-c", RUN, compiled, run]
        process = RunningProcess(
            command, log=self.home / f"{run}.log", cwd=self.home, start_new_session=True
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._workflow(run, "Succeeded")

    def look(self) -> list[str]:
        """Run the monitor's pipeline once; return the tasks that ran."""
        with self.running(self.compiled()) as process:
            process.wait(1800)
        return tasks(process)

    def compiled(self) -> Path:
        path = self.home / "monitor.yaml"
        compile_monitor(self.project, output=path)
        return path

    def look_until(self, done: str, *, drift: float) -> list[str]:
        """Let users send and look, until an action of that kind is noted; return all tasks."""
        ran: list[str] = []
        for _ in range(16):
            if any(one.kind == done for one in self.state.actions[self.noted :]):
                self.noted = len(self.state.actions)
                return ran
            self.serve(drift=drift)
            ran += self.look()
        raise AssertionError(f"no {done}: {self.state.model_dump_json(indent=1)[-6000:]}")

    noted: int = 0

    def _workflow(self, run: str, phase: str) -> None:
        metadata = {"name": run, "labels": {"pipeline/runid": run}}
        self.site.cluster.objects["workflows", "default", run] = {
            "metadata": metadata, "status": {"phase": phase},
        }  # fmt: skip


def tasks(process: RunningProcess) -> list[str]:
    return re.findall(r"Executing task (?:\x1b\[\d+m)?'([^']+)'", process.output())


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, shell) -> Iterator[Loop]:
    """Version 1 of the example serves on the cluster."""
    home = tmp_path_factory.mktemp("home")
    made = shell("example", str(home / "example"), "--rows", "6000")
    assert made.returncode == 0, made.stderr
    uri = f"sqlite:///{home}/mlflow.db"
    world = SimpleNamespace(home=home, uri=uri)
    with (
        s3_bucket("loop") as store,
        site_in(world) as site,
        receivers(home) as received,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("LOOP_WEBHOOK", str(received.spec.webhook))
        patch.setenv("LOOP_EVENTS", str(received.spec.cloudevents))
        start = site.cluster.start

        def own_spool(name: str, predictor: dict[str, Any]) -> Any:
            model = predictor["model"]
            spool = f"--capture={home}/spool/{name}"
            given = [spool if one.startswith("--capture=") else one for one in model["args"]]
            return start(name, {**predictor, "model": {**model, "args": given}})

        site.cluster.start = own_spool
        found = Loop(site, store, home, uri, received)
        said = found.release()
        assert found.champion().version == 1, said
        ((kind, text),) = found.told()
        assert (kind, found.received.events[0]["data"]["version"]) == ("release.released", 1)
        assert "Run of Kubeflow: run-1." in text
        yield found


def test_recall_and_retraining_by_the_pipeline_alone(loop: Loop) -> None:
    loop.serve(rows=AT_FIRST)
    assert set(loop.look()) == {"monitor", "intervene", "settle"}
    assert loop.state.verdict.kind == "healthy", loop.state.verdict

    # Amounts rise and fraud moves. The run that trains is killed once.
    while not (loop.state.intervention and loop.state.intervention.stage == "retrain"):
        loop.serve(drift=1.0)
        with loop.running(loop.compiled()) as process:
            until(lambda p=process: p.poll() is not None or "train" in tasks(p), seconds=1200)
    assert "train" in tasks(process)
    assert loop.watcher.run_files().storage.folders()
    began = loop.state.intervention
    ran = loop.look_until("retrained", drift=1.0)
    assert {"export-rows", "ingest", "train", "register", "deploy"} <= set(ran)
    assert loop.champion().version == 2
    assert [one.kind for one in loop.state.actions if one.kind != "suggested"] == ["retrained"]
    orders = loop.watcher.run_files().orders(began)
    assert [one.start for one in orders] == [1, 2]
    loop.serve(drift=1.0)
    loop.look()
    assert loop.state.verdict.kind in ("healthy", "watch")

    # All is as it was at first: the first model is recalled, and nothing is trained.
    ran = loop.look_until("recalled", drift=0.0)
    assert {"fetch-version", "evaluate", "register", "deploy"} <= set(ran)
    assert "train" not in ran
    first = versions.registered(f"models:/{NAME}/1", tracking_uri=loop.uri)
    assert loop.champion().version == 3
    assert loop.champion().model == first.model
    loop.serve()
    loop.look()
    assert loop.state.verdict.kind in ("healthy", "watch")
    assert loop.state.totals.actions["retrained"] == loop.state.totals.actions["recalled"] == 1
    kept = loop.watcher.run_files().storage.folders().values()
    assert not [name for names in kept for name in names if name.endswith(".parquet")]
    rights = allowed(DEPLOYER) | {("list", "workflows")}
    assert used(loop.site.cluster.calls) <= rights


def test_what_the_gate_refuses_is_read_by_the_next_look(loop: Loop) -> None:
    floors = [{"metric": "average_precision", "at_least": 0.9999}]
    loop.changes["gate"] = GATE | {"floors": floors}
    version = loop.champion().version
    ran = loop.look_until("refused", drift=1.0)
    assert "record-refusal" in ran
    (said,) = [one.reason for one in loop.state.actions if one.kind == "refused"][:1]
    assert "refused" in said
    assert "average_precision" in said
    assert loop.champion().version == version


def test_a_refusal_and_a_rollback_are_told_once_with_their_cause(loop: Loop) -> None:
    """A promotion is tried where the fixture is made."""
    loop.heard = len(loop.received.events)
    champion = loop.champion().version
    floors = [{"metric": "average_precision", "at_least": 0.9999}]
    said = loop.release(gate=GATE | {"floors": floors})
    ((kind, text),) = loop.told()
    assert kind == "release.refused", said
    assert "average_precision" in text
    assert f"Run of Kubeflow: run-{loop.runs}." in text

    faulty = loop.settings["deployment"] | {"fault_injection": "errors"}
    said = loop.release(gate=GATE, deployment=faulty)
    ((kind, text),) = loop.told()
    assert kind == "release.rolled_back", said
    assert "server errors" in text or "failed" in text
    assert f"Run of Kubeflow: run-{loop.runs}." in text
    assert loop.champion().version == champion


def test_who_waits_for_a_person_is_told_once_whoever_looks_meanwhile(loop: Loop) -> None:
    loop.heard = len(loop.received.events)
    champion = loop.champion().version
    with loop.releasing(gate=GATE | {"approval": {"people": 1}}) as process:
        until(lambda: loop.received.mails[loop.heard :], seconds=1200, every=1)
        ((kind, text),) = loop.told()
        assert kind == "release.waiting", process.output()
        assert "penstock approve models:/" in text
        loop.serve()
        loop.look()
        assert "release.waiting" not in [kind for kind, _ in loop.told()]
        assert loop.champion().version == champion
