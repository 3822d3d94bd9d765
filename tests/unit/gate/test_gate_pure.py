"""Deciding takes records alone: it gets by where nothing that measures can be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
REFUSED = (
    "fairlearn", "matplotlib", "mlflow", "numpy", "pandas", "pyarrow", "scipy", "sklearn",
    "penstock.data", "penstock.evaluation", "penstock.features", "penstock.gate.holdout",
    "penstock.model", "penstock.training",
)  # fmt: skip

DECIDE = f"""
import importlib.abc, json, sys
from pathlib import Path

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if any(name == one or name.startswith(one + ".") for one in {REFUSED!r}):
            raise AssertionError(f"deciding imports {{name}}")

sys.meta_path.insert(0, Refuse())
from penstock.gate.decision import decide, run
from penstock.gate.policy import Policy
from penstock.gate.rules import RULES

golden, scratch = Path(sys.argv[1]), Path(sys.argv[2])
policy = Policy.parse(json.loads((golden / "policy.json").read_text())["given"], where="gate")
decision = run(
    golden / "evaluation.json", policy=policy, name="loans", output=scratch / "decision.json",
    report=scratch / "decision.html", operations=golden / "operations.json",
)
print(len(RULES), len(decision.rules))
try:
    import pandas
except AssertionError:
    print("refused")
"""


def test_a_decision_and_its_page_need_nothing_that_measures(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DECIDE, str(GOLDEN), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-3:] == ["13", "24", "refused"]
    assert (tmp_path / "decision.html").stat().st_size > 1000
