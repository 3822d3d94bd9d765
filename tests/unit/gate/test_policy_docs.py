"""docs/write-your-policy.md: each of its policies passes a good model and blocks a bad one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from penstock.pipelines.cli import main
from penstock.records.decision import Decision

PAGE = Path(__file__).parents[3] / "docs" / "write-your-policy.md"

BLOCKED_BY = {
    "1. Good enough in itself": ("floor roc_auc", "floor recall"),
    "2. Not worse than what users have now": ("champion",),
    "3. No part of the customers left behind": ("slices",),
    "4. Groups of people treated alike": (
        "fairness selection_rate by sex",
        "fairness true_positive_rate by sex",
    ),
    "5. Decisions that pay": ("cost",),
}
"""The rules that the page's own policies are about: each must pass, and each must block."""


def policies() -> dict[str, str]:
    """Return the page's policies by their headings."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    found = {}
    for section in sections:
        for block in re.findall(r"^```yaml\n(.*?)^```", section, flags=re.M | re.S):
            found[section.splitlines()[0]] = block
    return found


def judged(policy: str, model: Path, world: Any, folder: Path, *, champion: str) -> Decision:
    (folder / "policy.yaml").write_text(policy)
    code = main(
        [
            "gate",
            f"--policy={folder / 'policy.yaml'}",
            f"--model={model}",
            f"--data={world.holdout}",
            f"--champion={champion}",
            f"--baselines={world.baselines}",
            f"--json={folder / 'decision.json'}",
        ]
    )
    decision = Decision.read(folder / "decision.json")
    assert code == (0 if decision.approved else 3)
    return decision


def test_the_page_has_five_policies() -> None:
    assert list(policies()) == list(BLOCKED_BY)


@pytest.mark.parametrize("title", list(BLOCKED_BY))
def test_a_policy_passes_a_good_model_and_blocks_a_bad_one(
    gate_world: Any, tmp_path: Path, title: str
) -> None:
    policy = policies()[title]
    champion = str(gate_world.baselines / "linear") if "champion" in policy else "none"
    good = judged(policy, gate_world.good, gate_world, tmp_path, champion=champion)
    bad = judged(policy, gate_world.bad, gate_world, tmp_path, champion=champion)
    assert good.approved, [r for r in good.rules if r.verdict == "fail"]
    assert not bad.approved
    for decision, verdict in ((good, "pass"), (bad, "fail")):
        found = {rule.rule: rule for rule in decision.rules}
        for name in BLOCKED_BY[title]:
            assert found[name].verdict == verdict, found[name]
            assert found[name].severity == "block"
            assert found[name].because
