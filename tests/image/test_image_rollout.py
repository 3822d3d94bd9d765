"""The deploy step in its image: three releases to a cluster whose model servers are in theirs.

The cluster is the emulator of tests/unit/rollout, reached over the bridge; its pods are containers
of the serving image, started as manifests/base/serving-runtime.yaml says.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from image_pipeline import CHANGES, SERVICE, Released, in_images, rollout
from image_site import Pod, Site

from penstock import project
from penstock.gate.evaluation import Evaluation
from penstock.records.decision import Decision
from penstock.records.operations import Operations
from penstock.records.release import Deployment
from penstock.records.rollout import Rollout
from penstock.registry import versions
from penstock.registry.evidence import Grounds
from penstock.registry.register import register
from penstock.registry.versions import ROLLED_BACK

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("images")]


def again(released: Released, *, site: Site, name: str) -> dict[str, Any]:
    """Register the model of another run of the same project here; return what `rollout` takes."""
    folder = site.folder / name
    folder.mkdir()
    tasks = released.tasks
    decision = folder / "decision"
    # That run compared with nobody, and a decision on another champion than there is is stale.
    found = versions.champion(SERVICE, tracking_uri=site.tracking_uri)
    made = Decision.read(tasks["decide"] / "decision")
    made.model_copy(update={"champion": found.uri if found else ""}).write(decision)
    holdout = shutil.copytree(tasks["split"] / "holdout", folder / "holdout")
    registration = folder / "registration"
    register(
        tasks["train"] / "model",
        decision=Decision.read(decision),
        evaluation=Evaluation.read(tasks["evaluate"] / "evaluation"),
        name=SERVICE,
        tracking_uri=site.tracking_uri,
        holdout=holdout,
        grounds=Grounds(
            operations=Operations.read(tasks["probe-serving"] / "operations"), image=None
        ),
    ).write(registration)
    gate = project.load(released.folder / "project.yaml").gate
    return {
        "registration": str(registration),
        "decision": str(decision),
        "holdout": str(holdout),
        # KFP takes no null within a parameter.
        "policy": gate.model_dump(mode="json", exclude_none=True),
    }


def champion(site: Site) -> int | None:
    found = versions.champion(SERVICE, tracking_uri=site.tracking_uri)
    return found.version if found else None


def deployed(site: Site) -> Path:
    return max(site.folder.glob("rollout-*")) / "deploy"


def test_the_first_version_takes_all_traffic(released: Released) -> None:
    record = Rollout.read(released.tasks["deploy"] / "rollout")
    assert (record.router, record.outcome, record.stable) == ("kserve-gateway", "promoted", None)
    assert [move.phase for move in record.transitions] == ["deploy", "promote", "done"]
    deployment = Deployment.read(released.tasks["deploy"] / "deployment")
    assert (deployment.version, deployment.rollout) == (1, record.digest())
    assert (released.champion, released.answering) == (1, "1")
    # No scikit-learn is there to answer the rows that were compared.
    assert deployment.smoke_rows == 20
    assert released.export.file


@pytest.mark.filterwarnings("ignore:.*is inferred as AnyType:UserWarning")
def test_the_second_is_promoted_and_a_bad_one_rolled_back(
    released: Released,
    run_here: Released,
    submitted: Released,
    site: Site,
    confined: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    options = CHANGES["deployment"]
    good = again(run_here, site=site, name="good") | {"options": options, "run": "good"}
    in_images(rollout, good, site=site, confined=confined)
    second = Rollout.read(deployed(site) / "rollout")
    assert (second.candidate, second.stable, second.outcome) == (2, 1, "promoted")
    phases = [move.phase for move in second.transitions]
    assert phases == ["deploy", "shadow", "step", "promote", "done"]
    assert second.intervals[-1].candidate.replayed
    assert Deployment.read(deployed(site) / "deployment").previous == 1
    assert (champion(site), site.answering(SERVICE)) == (2, "2")

    capfd.readouterr()
    bad = again(submitted, site=site, name="bad")
    fault = {"options": options | {"fault_injection": "errors"}, "run": "bad"}
    with pytest.raises(RuntimeError, match="'fail'"):
        in_images(rollout, bad | fault, site=site, confined=confined)
    said = capfd.readouterr().out
    assert "NotApprovedError: The candidate was rolled back." in said
    third = Rollout.read(deployed(site) / "rollout")
    assert (third.candidate, third.stable, third.outcome) == (3, 2, "rolled_back")
    assert third.fault == "errors"
    assert not (deployed(site) / "deployment").exists()
    assert (champion(site), site.answering(SERVICE)) == (2, "2")
    version = versions.registered(f"models:/{SERVICE}/3", tracking_uri=site.tracking_uri)
    assert version.tags[ROLLED_BACK] == third.reason

    # What did not earn its traffic serves no more, and the cluster has the records too.
    assert {name: type(pod) for name, pod in site.cluster.servers.items()} == {f"{SERVICE}-v2": Pod}
    kept = [key for key in site.cluster.objects if key[0] == "configmaps"]
    assert len(kept) == 3, json.dumps(kept)
