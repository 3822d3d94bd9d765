"""The workflows: what they may do, and what the one that releases runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEXT = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
RELEASE: dict[str, Any] = yaml.safe_load(TEXT)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_checkout_leaves_no_token_behind(workflow: Path) -> None:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("name", ["ci", "kind"])
def test_a_workflow_that_only_tests_may_only_read(name: str) -> None:
    workflow = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert not [job for job in workflow["jobs"].values() if "permissions" in job]


def test_a_job_has_no_permission_that_it_does_not_use() -> None:
    assert RELEASE["permissions"] == {}
    assert {name: job["permissions"] for name, job in RELEASE["jobs"].items()} == {
        "package": {"contents": "read"},
        "attest": {"attestations": "write", "id-token": "write"},
        "publish": {"id-token": "write"},
        "images": {
            "attestations": "write",
            "contents": "read",
            "id-token": "write",
            "packages": "write",
        },
        "notes": {"contents": "write"},
    }


def test_what_publishes_waits_for_people_and_for_everything_that_is_built() -> None:
    jobs = RELEASE["jobs"]
    assert jobs["publish"]["environment"] == jobs["images"]["environment"] == "release"
    assert set(jobs["publish"]["needs"]) == {"package", "attest", "images"}
    built = [step.get("run", "") for step in jobs["package"]["steps"]]
    assert {"make lint", "make docs", "make test", "make package", "make sbom"} <= set(built)


def test_every_image_is_signed_and_has_its_provenance() -> None:
    images = re.search(r"^IMAGES\s+:= (.*)$", (ROOT / "images/images.mk").read_text(), re.MULTILINE)
    assert images is not None
    steps = RELEASE["jobs"]["images"]["steps"]
    loops = [
        found[1]
        for step in steps
        for found in re.finditer(r"for name in (.*); do", step.get("run", ""))
    ]
    assert loops == [images[1], images[1]]
    proven = [
        step["with"]["subject-name"].rpartition("/")[2]
        for step in steps
        if step.get("uses", "").startswith("actions/attest@")
    ]
    assert proven == images[1].split()


def test_every_make_target_is_one_of_ours() -> None:
    targets = set(re.findall(r"^([a-z-]+):", _makefiles(), flags=re.MULTILINE))
    for workflow in WORKFLOWS:
        for step in re.findall(r"\bmake ([a-z -]+)", _commands(workflow)):
            assert set(step.split()) <= targets, step


def _makefiles() -> str:
    return "".join((ROOT / name).read_text() for name in ("Makefile", "images/images.mk"))


def _commands(workflow: Path) -> str:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    return "\n".join(step.get("run", "") for step in steps)


def test_no_input_is_written_into_a_shell() -> None:
    for job in RELEASE["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), step
