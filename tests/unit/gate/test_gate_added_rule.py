"""A rule is one module: one file more, and every place has it, without a change to another file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
ADDED = Path(__file__).parent / "at_most_features.py"

USE = """
import json, sys
from pathlib import Path

from penstock.errors import InputError
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.rules import RULES
from penstock.model import digest_of
from penstock.pipelines.cli import main
from penstock.records.decision import Decision
from penstock.records.model import Model
from penstock.registry.card import model_card

root, world, scratch = map(Path, sys.argv[1:])

def refusal(raw, **task):
    try:
        Policy.parse(raw, where="gate").check_fit(**task)
    except InputError as error:
        return str(error)

task = {"task": "binary", "metric": "roc_auc"}
wrong = [refusal({"features": {"at_most": at_most}}, **task) for at_most in (0, 2000)]
(scratch / "policy.yaml").write_text("features: {at_most: 3, because: Clerks see three.}\\n")
code = main([
    "gate", "--policy", str(scratch / "policy.yaml"), "--model", str(world / "good-model"),
    "--data", str(world / "good-holdout"), "--baselines", str(world / "good-baselines"),
    "--champion", "none", "--json", str(scratch / "decision.json"),
    "--html", str(scratch / "decision.html"), "--evaluation", str(scratch),
])
evaluation = Evaluation.read(scratch / "evaluation.json")
decision = Decision.read(scratch / "decision.json")
card = model_card(
    Model.read(world / "good-model" / "penstock.json"), digest=digest_of(world / "good-model"),
    name="loans", evaluation=evaluation, decision=decision,
)
sys.path.append(str(root / "scripts"))
import catalogue
print(json.dumps({
    "rules": [rule.name for rule in RULES],
    "wrong": wrong,
    "code": code,
    "measured": evaluation.features.columns,
    "card": card.markdown,
    "catalogue": catalogue._project_file(),
}))
"""


def house_with(added: Path, home: Path) -> Path:
    """Return a folder to import from: Penstock as it stands here, and one rule more."""
    package = home / "penstock"
    rules = package / "gate" / "rules"
    rules.mkdir(parents=True)
    for folder, ours, left_out in (
        (ROOT / "penstock", package, "gate"),
        (ROOT / "penstock/gate", package / "gate", "rules"),
        (ROOT / "penstock/gate/rules", rules, ""),
    ):
        for path in folder.iterdir():
            if path.name not in (left_out, "__pycache__"):
                (ours / path.name).symlink_to(path)
    for name in ("components", "pipelines"):
        (package / name).symlink_to(ROOT / name)
    (rules / "features.py").symlink_to(added)
    return home


@pytest.fixture(scope="module")
def used(gate_world: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What each place says, and where the command wrote the rest."""
    scratch = tmp_path_factory.mktemp("added")
    home = house_with(ADDED, tmp_path_factory.mktemp("house"))
    command = [sys.executable, "-c", USE, str(ROOT), str(gate_world.home), str(scratch)]
    done = subprocess.run(
        command,
        # Not here, where the package stands without the added rule.
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *printed, last = done.stdout.splitlines()
    return json.loads(last) | {"printed": printed}, scratch


def test_a_policy_has_it_and_refuses_what_it_refuses(used: Any) -> None:
    found, _ = used
    assert found["rules"][-1] == "features"
    below, above = found["wrong"]
    assert "features.at_most: Input should be greater than or equal to 1" in below
    assert "gate.features.at_most: no table has so many columns" in above


def test_it_is_measured_judged_and_named_in_the_console(used: Any) -> None:
    found, scratch = used
    assert len(found["measured"]) == 5
    decision = json.loads((scratch / "decision.json").read_text())
    result = next(rule for rule in decision["rules"] if rule["rule"] == "features")
    assert (result["verdict"], result["value"], result["bound"]) == ("fail", 5.0, 3.0)
    assert (found["code"], decision["approved"]) == (3, False)
    line = "FAIL  block  features: The model takes 5 columns; at most 3 are allowed."
    assert line in found["printed"]


def test_pages_card_and_documents_have_it(used: Any) -> None:
    found, scratch = used
    page = (scratch / "decision.html").read_text()
    assert "The model may take at most 3 columns of the table." in page
    assert "Clerks see three." in page
    measured = (scratch / "evaluation.html").read_text()
    assert ">Columns taken</h2>" in measured
    assert "It takes income, debt, region, sex, age." in measured
    assert "## Columns taken\n\nIt takes 5 columns." in found["card"]
    documented = found["catalogue"].partition("## gate.features\n\n")[2]
    assert documented.startswith("How many columns of the table a model may take.")
    assert "| `at_most` | **required** | Columns that the model takes |" in documented
