"""A model's life on an existing cluster, from its first version on: `make test-cluster`.

The pipeline runs on this machine and registers in the cluster's MLflow; the rollout acts as the
service account `penstock-deployer`, first from here, then from a Job. Each stage needs the one
before, and makes it if it has to.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cluster_job
import pytest
import yaml
from cluster_site import NAMESPACE, NEEDS_CLUSTER, Registry, Site, objects, site_in
from cluster_table import CANARY, write_table
from cluster_users import Users, only_ok
from running_process import until

from penstock.records.release import Deployment, Registration
from penstock.records.rollout import Rollout

pytestmark = [pytest.mark.slow, NEEDS_CLUSTER]

PENSTOCK = Path(sys.executable).parent / "penstock"

HOLDING = CANARY | {"steps": [CANARY["steps"][0] | {"hold": True}, CANARY["steps"][1]]}


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
    """One service, released again and again while its users ask."""

    def __init__(self, site: Site) -> None:
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
                "kserve": site.kserve(site.address),
                "ready_timeout": 300,
                "canary": CANARY,
            },
        }
        self.project.write_text(yaml.safe_dump(plain))

    @cached_property
    def first(self) -> Stage:
        return self._run(training={"trials": 1, "folds": 2, "candidates": ["linear"]})

    @cached_property
    def better(self) -> Stage:
        assert self.first.done.returncode == 0, self.first.said
        trees = {"trials": 3, "folds": 2, "candidates": ["hist_gradient_boosting"]}
        with self.users.asking():
            return self._run(training=trees)

    @cached_property
    def before_the_bad(self) -> tuple[dict[str, Any], list[tuple[str, int]]]:
        assert self.better.done.returncode == 0, self.better.said
        return self.stable()

    @cached_property
    def bad(self) -> Stage:
        assert self.before_the_bad
        with self.users.asking():
            return self._run("--demo", "bad-candidate")

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
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PENST", "MLFLOW"))}
        acts = {
            "KUBECONFIG": str(acting or self.site.deployer),
            # A forwarded port breaks now and then.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "5",
        }
        return subprocess.run(
            [str(PENSTOCK), *arguments],
            cwd=self.site.folder,
            env=kept | acts | self.site.credentials,
            capture_output=True,
            text=True,
            timeout=1_500,
        )

    def _run(self, *options: str, **changes: Any) -> Stage:
        self._change(**changes)
        before = self.users.answers
        done = self.penstock("run", *options)
        runs = sorted((self.site.folder / ".penstock" / "runs").iterdir())
        return Stage(done, runs[-1], self.users.since(before))

    def _change(self, **changes: Any) -> None:
        self.project.write_text(yaml.safe_dump(yaml.safe_load(self.project.read_text()) | changes))


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    with site_in(tmp_path_factory.mktemp("journey")) as site:
        yield Journey(site)


def test_the_first_version_takes_all_traffic(journey: Journey) -> None:
    assert journey.first.done.returncode == 0, journey.first.said
    assert "RELEASED" in journey.first.said
    assert journey.first.phases == ["deploy", "promote", "done"]
    assert journey.first.version == 1
    assert Deployment.read(journey.first.task("deploy") / "deployment").router == "kserve-gateway"


def test_a_better_candidate_is_promoted_and_no_user_is_failed(journey: Journey) -> None:
    stage = journey.better
    assert stage.done.returncode == 0, stage.said
    assert stage.phases == ["deploy", "shadow", "step", "step", "promote", "done"]
    assert [m.weight for m in stage.rollout.transitions if m.phase == "step"] == [20, 50]
    only_ok(stage.answers)
    assert stage.answers.keys() == {"200 version 1", "200 version 2"}
    assert journey.users.version() == stage.version == 2
    assert journey.registry.alias(journey.site.name, "champion") == "2"
    left = objects("inferenceservices", NAMESPACE, f"penstock/service={journey.site.name}")
    assert [item["metadata"]["name"] for item in left] == [f"{journey.site.name}-v2"]


def test_a_bad_candidate_is_rolled_back_and_the_stable_version_is_untouched(
    journey: Journey,
) -> None:
    before = journey.before_the_bad
    stage = journey.bad
    assert stage.done.returncode == 4, stage.said
    assert "ROLLED BACK" in stage.said
    assert stage.rollout.outcome == "rolled_back"
    assert re.search("failed|server errors", stage.rollout.reason), stage.rollout.reason
    only_ok(stage.answers)
    assert stage.answers.keys() == {"200 version 2"}
    assert journey.stable() == before
    assert journey.registry.alias(journey.site.name, "champion") == "2"
    tags = journey.registry.tags(journey.site.name, stage.version)
    assert tags["penstock.rolled_back"] == stage.rollout.reason
    left = objects("inferenceservices", NAMESPACE, f"penstock/service={journey.site.name}")
    assert [item["metadata"]["name"] for item in left] == [f"{journey.site.name}-v2"]


def test_status_tells_it_to_the_account_that_may_only_look(journey: Journey) -> None:
    assert journey.bad.done.returncode == 4, journey.bad.said
    told = journey.penstock("status", acting=journey.site.monitor)
    assert told.returncode == 0, told.stderr
    assert "version 2: 100 %" in told.stdout
    assert "rolled back" in told.stdout
    denied = journey.penstock("rollback", "--to", "1", acting=journey.site.monitor)
    assert denied.returncode == 1
    assert "this account may not do it" in denied.stderr
    assert journey.users.version() == 2


@pytest.fixture(scope="module")
def resumed(journey: Journey) -> tuple[int, Counter[str]]:
    """Release the version again whose server had a fault, by a Job that is killed at a step."""
    bad, site = journey.bad, journey.site
    assert bad.done.returncode == 4, bad.said
    options = yaml.safe_load(journey.project.read_text())["deployment"]
    options |= {"kserve": site.inside, "canary": HOLDING}
    given = {
        "options": options,
        "run": f"{site.name}-again",
        "holdout": bad.task("split") / "holdout",
    }
    task = site.folder / "task"
    task.mkdir()
    for step, record in (("register", "registration"), ("decide", "decision")):
        (task / record).write_bytes((bad.task(step) / record).read_bytes())
    first, second = f"{site.name}-1", f"{site.name}-2"
    with journey.users.asking():
        before = journey.users.answers
        cluster_job.start(site, first, task=task, **given)
        # Nobody drives while it holds but the Job's controller: it waits for an approval.
        until(lambda: _holds(journey, first), what=f"the step of {first}", seconds=600, every=3)
        cluster_job.kill(first)
        until(
            lambda: cluster_job.ended(first) == "Failed",
            what=f"{first} has failed",
            seconds=300,
            every=1,
        )
        approved = journey.penstock("rollout", "approve")
        assert approved.returncode == 0, approved.stderr
        cluster_job.start(site, second, task=task, **given)
        until(lambda: cluster_job.ended(second), what=f"the end of {second}", seconds=900, every=3)
        answers = journey.users.since(before)
    assert cluster_job.ended(second) == "Complete", cluster_job.log(second)
    return bad.version, answers


def _holds(journey: Journey, job: str) -> bool:
    assert cluster_job.ended(job) == "", cluster_job.log(job)
    told = journey.penstock("status").stdout
    return bool(re.search(r"version \d+: 20 %", told)) and "approve" in told


def test_a_killed_job_is_resumed_by_the_next(
    journey: Journey, resumed: tuple[int, Counter[str]]
) -> None:
    version, answers = resumed
    only_ok(answers)
    assert answers.keys() == {"200 version 2", f"200 version {version}"}
    assert journey.users.version() == version
    assert journey.registry.alias(journey.site.name, "champion") == str(version)
    told = journey.penstock("status").stdout
    assert f"version {version}: 100 %" in told
    assert "promoted" in told


def test_rollback_serves_the_champion_before(
    journey: Journey, resumed: tuple[int, Counter[str]]
) -> None:
    before = journey.users.answers
    with journey.users.asking():
        done = journey.penstock("rollback")
    assert done.returncode == 0, done.stderr
    assert "Version 2 serves at" in done.stdout
    assert journey.users.version() == 2
    assert journey.registry.alias(journey.site.name, "champion") == "2"
    only_ok(journey.users.since(before))


def test_what_it_is_called_by_is_all_there_is_of_it(journey: Journey) -> None:
    """What `clean_up` looks for is what a release makes: else it would leave something."""
    assert journey.first.done.returncode == 0, journey.first.said
    site = journey.site
    named = set()
    for kind in ("inferenceservices", "httproutes", "configmaps", "leases"):
        for item in objects(kind, NAMESPACE):
            if site.name in json.dumps(item["metadata"]["name"]):
                named.add(f"{item['kind']}/{item['metadata']['name']}")
    assert named <= set(site.left())
