"""`python -m fake_release FOLDER NUMBER SUMMARY`: stands for a run, which takes a minute.

It notes that it began, waits while FOLDER/hold is there, and ends as FOLDER/outcome says.
"""

import json
import sys
import time
from pathlib import Path

CODES = {"released": 0, "failed": 1, "refused": 3, "rolled_back": 4}

folder, number, summary = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
with (folder / "begun").open("a") as stream:
    stream.write(f"{number}\n")
while (folder / "hold").exists():
    time.sleep(0.02)
outcome = (folder / "outcome").read_text() if (folder / "outcome").exists() else "released"
if outcome == "crash":
    raise RuntimeError("out of luck")
said = {"outcome": outcome, "reason": f"It was {outcome}.", "link": "file:///page"}
beside = summary.with_suffix(".beside")
beside.write_text(json.dumps(said))
beside.replace(summary)
sys.exit(CODES[outcome])
