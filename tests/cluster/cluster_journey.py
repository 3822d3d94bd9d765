"""One service of an existing cluster, released again and again while its users ask."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from cluster_site import NAMESPACE, Registry, Site, objects
from cluster_table import CANARY, write_table
from cluster_users import Users
from running_process import RunningProcess

from penstock.records.release import Registration
from penstock.records.rollout import Rollout

PENSTOCK = Path(sys.executable).parent / "penstock"


@dataclass(frozen=True)
class Stage:
    """A release that has ended."""

    done: subprocess.CompletedProcess[str]
    folder: Path
    answers: Counter[str]

    @property
    def said(self) -> str:
        return self.done.stdout + self.done.stderr

    def task(self, name: str) -> Path:
        return next((self.folder / "kfp").glob(f"*/{name}"))

    @property
    def rollout(self) -> Rollout:
        return Rollout.read(self.task("deploy") / "rollout")

    @property
    def phases(self) -> list[str]:
        return [move.phase for move in self.rollout.transitions]

    @property
    def version(self) -> int:
        return Registration.read(self.task("register") / "registration").version


class Journey:
    """One service.

    Args:
        site: The cluster.
        kserve: Changes to `deployment.kserve`.
    """

    def __init__(self, site: Site, **kserve: Any) -> None:
        self.site = site
        self.registry = Registry(site.mlflow, site.credentials)
        self.users = Users(site.address, service=site.name, row=write_table(site.folder / "t.csv"))
        self.project = site.folder / "project.yaml"
        plain = {
            "name": site.name,
            "target": "bought",
            "source": {"uri": "t.csv"},
            "tracking_uri": site.mlflow,
            # What is tried here is the canary: the holdout is too small for a finer margin.
            "gate": {"champion": {"margin": 0.99}, "classes": {"margin": 0.99}},
            "deployment": {
                "router": "kserve-gateway",
                "kserve": site.kserve(site.address) | kserve,
                "ready_timeout": 300,
                "canary": CANARY,
            },
        }
        self.project.write_text(yaml.safe_dump(plain))

    @cached_property
    def first(self) -> Stage:
        return self.run(training={"trials": 1, "folds": 2, "candidates": ["linear"]})

    @cached_property
    def better(self) -> Stage:
        assert self.first.done.returncode == 0, self.first.said
        trees = {"trials": 3, "folds": 2, "candidates": ["hist_gradient_boosting"]}
        with self.users.asking():
            return self.run(training=trees)

    @cached_property
    def before_the_bad(self) -> tuple[dict[str, Any], list[tuple[str, int]]]:
        assert self.better.done.returncode == 0, self.better.said
        return self.stable()

    @cached_property
    def bad(self) -> Stage:
        assert self.before_the_bad
        with self.users.asking():
            return self.run("--demo", "bad-candidate")

    def stable(self) -> tuple[dict[str, Any], list[tuple[str, int]]]:
        """Return the second version's identity on the cluster, and its pods with their restarts."""
        name = f"{self.site.name}-v{self.better.version}"
        mine = f"penstock/service={self.site.name}"
        services = objects("inferenceservices", NAMESPACE, mine)
        service = next(item for item in services if item["metadata"]["name"] == name)
        restarts = []
        for pod in objects("pods", NAMESPACE, f"serving.kserve.io/inferenceservice={name}"):
            times = sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
            restarts.append((pod["metadata"]["uid"], times))
        return {"uid": service["metadata"]["uid"], "spec": service["spec"]}, sorted(restarts)

    def penstock(
        self, *arguments: str, acting: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line as the deployer, or as another account."""
        return subprocess.run(
            [str(PENSTOCK), *arguments],
            cwd=self.site.folder,
            env=self._environment(acting),
            capture_output=True,
            text=True,
            timeout=1_500,
        )

    def begun(self, *arguments: str) -> RunningProcess:
        """Begin a command of the deployer's that goes on; its log is beside the project file."""
        return RunningProcess(
            [PENSTOCK, *arguments],
            log=self.site.folder / f"{arguments[0]}.log",
            cwd=self.site.folder,
            env=self._environment(),
        )

    def _environment(self, acting: Path | None = None) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PENST", "MLFLOW"))}
        acts = {
            "KUBECONFIG": str(acting or self.site.deployer),
            # A forwarded port breaks now and then.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
        }
        return kept | acts | self.site.credentials

    def run(self, *options: str, **changes: Any) -> Stage:
        """Release once, with changes of the project file that stay."""
        self._change(**changes)
        before = self.users.answers
        done = self.penstock("run", *options)
        runs = sorted((self.site.folder / ".penstock" / "runs").iterdir())
        return Stage(done, runs[-1], self.users.since(before))

    def _change(self, **changes: Any) -> None:
        self.project.write_text(yaml.safe_dump(yaml.safe_load(self.project.read_text()) | changes))
