"""The face of `probe_serving` in somebody else's pipeline, where the policy asks for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PIPELINE = """
from kfp import dsl, local
from penstock.components.probe_serving import probe_serving

@dsl.pipeline(name="theirs")
def theirs(model: str, holdout: str):
    candidate = dsl.importer(artifact_uri=model, artifact_class=dsl.Model)
    rows = dsl.importer(artifact_uri=holdout, artifact_class=dsl.Dataset)
    probe_serving(model=candidate.output, holdout=rows.output, policy={"champion": {"margin": 0.1}})

local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out")
theirs(model=MODEL, holdout=HOLDOUT)
"""


def test_it_writes_that_nothing_was_asked(tmp_path: Path) -> None:
    import pyarrow as pa

    from penstock.data.table import write_dataset
    from penstock.model import digest_of
    from penstock.records.operations import Operations

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "penstock.json").write_text("{}")
    dataset = write_dataset([pa.table({"a": [1, 2]})], output=tmp_path / "holdout", source="a test")
    folders = {name.upper(): repr(str(tmp_path / name)) for name in ("model", "holdout")}
    text = PIPELINE
    for name, folder in folders.items():
        text = text.replace(f"={name}", f"={folder}")
    (tmp_path / "pipeline.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "pipeline.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = (tmp_path / "out").rglob("operations")
    record = Operations.read(written)
    assert not record.asked
    assert (record.model, record.dataset) == (digest_of(tmp_path / "model"), dataset.content)
