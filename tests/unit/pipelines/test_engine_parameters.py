"""The project's engine is that of each step that works on one, unless the step names another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.pipelines.parameters import for_run
from penstock.project import Project

PLAIN = {"name": "loans", "target": "paid", "source": {"uri": "loans.csv"}}
DASK = {"name": "dask", "workers": 2}


@pytest.mark.parametrize(
    ("sections", "handed"),
    [
        ({}, {}),
        ({"engine": DASK}, {"engine": DASK}),
        ({"engine": DASK, "validation": {"engine": {"workers": 3}}}, {"engine": {"workers": 3}}),
        (
            {"engine": {"workers": 2}, "validation": {"on_fail": "quarantine"}},
            {"engine": {"workers": 2}, "on_fail": "quarantine"},
        ),
    ],
)
def test_the_engine_of_a_step(sections: dict[str, Any], handed: dict[str, Any]) -> None:
    project = Project.parse({**PLAIN, **sections}, where="project.yaml")
    assert for_run(project, folder=Path(), by="me")["validation"] == handed
