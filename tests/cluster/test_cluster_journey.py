"""A model's life on an existing cluster, from its first version on: `make test-cluster`.

The pipeline runs on this machine and registers in the cluster's MLflow; the rollout acts as the
service account `penstock-deployer`, first from here, then from a Job. Each stage needs the one
before, and makes it if it has to.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

import cluster_job
import pytest
import yaml
from cluster_journey import Journey
from cluster_site import NAMESPACE, NEEDS_CLUSTER, objects, site_in
from cluster_table import CANARY
from cluster_users import only_ok
from running_process import until

from penstock.records.release import Deployment

pytestmark = [pytest.mark.slow, NEEDS_CLUSTER]

HOLDING = CANARY | {"steps": [CANARY["steps"][0] | {"hold": True}, CANARY["steps"][1]]}


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
