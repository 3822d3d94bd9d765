"""A component in somebody else's pipeline: no release pipeline, no project file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PIPELINE = """
from kfp import dsl, local
from penstock.components.fail import fail
from penstock.components.ingest import ingest
from penstock.components.validate import validate

@dsl.pipeline(name="theirs")
def theirs(uri: str, highest: int) -> bool:
    data = ingest(uri=uri)
    checked = validate(
        dataset=data.outputs["dataset"],
        expectations=[
            {"type": "expect_column_values_to_be_between",
             "kwargs": {"column": "a", "max_value": highest}}
        ],
    )
    with dsl.If(checked.outputs["Output"] == False):
        fail(reason="Their words.")
    return checked.outputs["Output"]

local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out")
print("returned", theirs(uri="table.csv", highest=HIGHEST).output)
"""


@pytest.mark.long
def test_validate_and_fail_work_alone(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,x\n2,y\n3,z\n")
    (tmp_path / "pipeline.py").write_text(PIPELINE.replace("HIGHEST", "2"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "pipeline.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NotApprovedError: Their words" in done.stdout
    assert "'fail'" in done.stdout
