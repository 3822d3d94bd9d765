"""Stands in for the process of a stage: it runs until it is told how to end.

    python -m stage_process PROJECT FOLDER STAGE

`end` in the folder holds what it is to write as its result; `error` what went wrong.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from penstock.pipelines.interventions import Stage

if __name__ == "__main__":
    _, folder, name = sys.argv[1:4]
    stage = Stage(Path(folder), name)
    (stage.folder / "pids").open("a").write(f"{os.getpid()}\n")
    while True:
        for told, written in (
            (stage.folder / "end", stage.result),
            (stage.folder / "error", stage.error),
        ):
            if told.exists():
                written.write_text(told.read_text())
                sys.exit()
        time.sleep(0.02)
