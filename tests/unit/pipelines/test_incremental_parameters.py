"""Where a project keeps datasets for the next ingest: beside it here, in a claim on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import InputError
from penstock.pipelines.parameters import for_file, for_run
from penstock.project import Project


def _source(incremental: str) -> dict[str, Any]:
    source = {"uri": "s3://rows/loans", "incremental": incremental}
    return {"name": "loans", "target": "paid", "source": source}


@pytest.mark.parametrize(
    ("given", "here", "compiled"),
    [
        ("kept", {"incremental": "/projects/kept"}, {}),
        ("/kept", {"incremental": "/kept"}, {}),
        ("pvc://rows/kept", {"incremental": "pvc://rows/kept"}, {"incremental": "pvc://rows/kept"}),
    ],
)
def test_the_folder_of_kept_datasets(
    given: str, here: dict[str, str], compiled: dict[str, str]
) -> None:
    project = Project.parse(_source(given), where="a test")
    assert for_run(project, folder=Path("/projects"), by="me")["source"] == here
    assert for_file(project)["source"] == compiled


@pytest.mark.parametrize("given", ["s3://rows/kept", "pvc://"])
def test_it_is_a_folder_and_no_store(given: str) -> None:
    with pytest.raises(InputError, match="a folder, or pvc://CLAIM/folder, is needed"):
        Project.parse(_source(given), where="a test")
