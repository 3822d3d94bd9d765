"""The decision as a page for a reviewer."""

from __future__ import annotations

from penstock.records.decision import Decision, RuleResult
from penstock.records.evaluation import Evaluation
from penstock.reports.page import Cell, Section, page, paragraph, table


def decision_page(decision: Decision, *, evaluation: Evaluation, name: str) -> str:
    """Return the decision as self-contained HTML: the verdict, each rule with its reason, what for.

    Args:
        decision: The gate's decision.
        evaluation: The evaluation it was made on.
        name: The project's name.
    """
    return page(
        title=f"Gate: {name}",
        kind="Decision",
        status="good" if decision.approved else "bad",
        verdict=decision.reason().partition(": ")[2],
        facts=[
            ("Primary metric", evaluation.metric),
            ("Holdout rows", f"{evaluation.rows:,}"),
            ("Champion", evaluation.champion or "none yet"),
            ("Model", decision.model),
            ("Holdout data version", decision.dataset),
            ("Policy", decision.policy),
        ],
        sections=[
            Section(
                title="Rules",
                lead="A rule that blocks stops the release when it fails; a rule that warns does "
                "not.",
                body=table(
                    ["Rule", "Verdict", "If it fails", "Why"],
                    [_row(rule) for rule in decision.rules],
                ),
            ),
            Section(
                title="What this decision is worth",
                body=paragraph(
                    "It names the model, the holdout, the evaluation and the policy by digest. "
                    "Registration and deployment compute the model's digest again and refuse any "
                    "other model, so a flag set by hand opens nothing."
                ),
            ),
        ],
    )


def _row(rule: RuleResult) -> list[str | Cell]:
    tone = {"pass": "good", "fail": "bad" if rule.severity == "block" else "warn"}
    return [
        Cell(rule.rule, strong=True),
        Cell(rule.verdict, tone=tone.get(rule.verdict, "plain")),  # type: ignore[arg-type]
        "blocks" if rule.severity == "block" else "warns",
        rule.sentence,
    ]
