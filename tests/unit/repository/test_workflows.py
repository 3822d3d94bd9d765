"""The workflow that releases: what it may do, and what it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
RELEASE: dict[str, Any] = yaml.safe_load(TEXT)


def test_every_action_of_a_release_is_pinned_to_a_commit() -> None:
    used = re.findall(r"uses: (.*)", TEXT)
    assert len(used) > 10
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


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
    assert {"make lint", "make docs", "make test"} <= set(built)


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


def test_no_input_is_written_into_a_shell() -> None:
    for job in RELEASE["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), step
