"""The project's engine is that of each step that works on one, unless the step names another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.pipelines.parameters import for_run, for_score
from penstock.project import Project

PLAIN = {"name": "loans", "target": "paid", "source": {"uri": "loans.csv"}}
DASK = {"name": "dask", "workers": 2}


@pytest.mark.parametrize("step", ["validation", "features", "training"])
@pytest.mark.parametrize(
    ("sections", "handed"),
    [
        ({}, {}),
        ({"engine": DASK}, {"engine": DASK}),
        ({"engine": DASK, "STEP": {"engine": {"workers": 3}}}, {"engine": {"workers": 3}}),
    ],
)
def test_the_engine_of_a_step(step: str, sections: dict[str, Any], handed: dict[str, Any]) -> None:
    named = {step if name == "STEP" else name: value for name, value in sections.items()}
    project = Project.parse({**PLAIN, **named}, where="project.yaml")
    assert for_run(project, folder=Path(), by="me")[step] == handed


def test_the_engine_of_a_scoring() -> None:
    project = Project.parse({**PLAIN, "engine": DASK}, where="project.yaml")
    assert for_score(project)["scoring"] == {"engine": DASK}


def test_what_else_a_step_is_given_stays() -> None:
    given = {"engine": {"workers": 2}, "validation": {"on_fail": "quarantine"}}
    project = Project.parse({**PLAIN, **given}, where="project.yaml")
    handed = for_run(project, folder=Path(), by="me")["validation"]
    assert handed == {"engine": {"workers": 2}, "on_fail": "quarantine"}


def test_pods_are_for_the_steps_that_can_leave_their_work_to_them() -> None:
    engine = {**DASK, "on": "kubernetes"}
    project = Project.parse({**PLAIN, "engine": engine}, where="project.yaml")
    handed = for_run(project, folder=Path(), by="me")
    assert handed["validation"] == {"engine": engine}
    assert handed["features"] == handed["training"] == for_score(project)["scoring"] == {}
