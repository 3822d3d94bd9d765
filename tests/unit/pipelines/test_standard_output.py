"""A command whose reader has gone ends without a traceback, and not as one that succeeded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_fault(tmp_path: Path, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nowhere:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("penstock")), "experiment", "size", "project.yaml"],
            cwd=_project_in(tmp_path),
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=nowhere,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def _project_in(folder: Path) -> Path:
    (folder / "project.yaml").write_text(
        "{name: shop, target: bought, source: {uri: none.csv}, "
        "experiment: {baseline: 0.1, effect: 0.01}}"
    )
    return folder
