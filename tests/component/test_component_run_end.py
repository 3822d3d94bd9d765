"""A compiled pipeline whose exit handler learns from other steps why the run ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from receivers import receivers

PIPELINE = """
import json, sys
from pathlib import Path
from kfp import compiler, components, dsl, local
from penstock.components.ingest import ingest
from penstock.components.validate import validate
from penstock.pipelines.gated import Notifying

@dsl.pipeline(name="theirs")
def theirs(tracking_uri: str, notify: dict, highest: int):
    run = Notifying("loans", tracking_uri)
    with dsl.ExitHandler(run.exit_handler(notify)):
        data = ingest(uri="table.csv")
        checked = validate(
            dataset=data.outputs["dataset"],
            expectations=[
                {"type": "expect_column_values_to_be_between",
                 "kwargs": {"column": "a", "max_value": highest}}
            ],
        )
        with dsl.If(checked.outputs["Output"] == False):
            run.end("data-refused", evidence=checked.outputs["results"])

tracking_uri, notify = sys.argv[1:]
compiler.Compiler().compile(theirs, "theirs.yaml")
local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out")
components.load_component_from_file("theirs.yaml")(
    tracking_uri=tracking_uri, notify=json.loads(notify), highest=2
)
"""


@pytest.mark.long
@pytest.mark.slow
def test_data_that_are_refused_are_told_once_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,x\n2,y\n3,z\n")
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    with receivers(tmp_path) as received:
        done = subprocess.run(
            [
                *(sys.executable, "-W", "ignore", "pipeline.py", store),
                received.spec.model_dump_json(exclude_defaults=True),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        received.require_same()
        assert received.types == ["release.refused"], done.stdout
    text = received.events[0]["data"]["text"]
    assert text.startswith("loans: not released, it was refused. The data were refused. ")
    assert received.events[0]["data"]["run"] in text
