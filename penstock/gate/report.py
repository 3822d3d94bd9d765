"""The decision as a page for a reviewer, who has nothing but this page and the policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.gate.rules import RULES
from penstock.metrics.descriptions import DESCRIPTIONS
from penstock.records.decision import Decision, RuleResult
from penstock.reports.page import (
    Cell,
    Section,
    Tone,
    badge,
    heading,
    muted,
    page,
    paragraph,
    preformatted,
    row,
    table,
)

_WHAT_IT_SAYS = (
    "It names the model, the holdout, the evaluation and the policy by digest. Registration and "
    "deployment compute the model's digest again and refuse any other model, so a flag set by "
    "hand opens nothing.",
    "It says that this model met this policy on these rows. It does not say that the policy asks "
    "the right questions, that users will bring rows like these, or that a figure will hold "
    "tomorrow.",
)


def decision_page(decision: Decision, *, evaluation: Evaluation, policy: Policy, name: str) -> str:
    """Return the decision as self-contained HTML.

    The verdict comes first, then every rule in one table, then each in words: what it requires,
    what was measured, why the policy has it. Rules that refused the model come before all others.
    At the end is the policy itself.

    Args:
        decision: The gate's decision.
        evaluation: The evaluation it was made on.
        policy: The policy it was made by.
        name: The project's name.
    """
    ordered = decision.ordered
    parts = (
        Section("Every rule", _overview(ordered), _OVERVIEW_LEAD),
        *_rule_groups(ordered, policy.describe()),
        *_meanings(evaluation, policy),
        *_notes(evaluation),
        Section(
            "The policy",
            preformatted(policy.text()),
            "The rules, with the defaults filled in. A rule that is not here was off.",
        ),
        Section("What this decision rests on", _rests_on(decision), "Each is named by its digest."),
        Section("What this decision means", "".join(map(paragraph, _WHAT_IT_SAYS))),
    )
    return page(
        title=f"Gate: {name}",
        kind="Decision",
        status="good" if decision.approved else "bad",
        verdict=" ".join((decision.grounds(), *evaluation.sentences())),
        facts=[
            ("Primary metric", evaluation.metric),
            ("Holdout rows", f"{evaluation.rows:,}"),
            ("Champion", evaluation.champion or "none yet"),
            ("Model", decision.model),
            ("Policy", decision.policy),
        ],
        sections=parts,
        notice=_warnings(ordered) if decision.approved else "",
    )


_GROUPS: dict[str, tuple[str, str]] = {
    "block": ("Refused by", "Rules of severity block that failed: each alone refuses the model."),
    "warn": ("Warnings", "Rules of severity warn that failed. The policy lets the model pass."),
    "info": ("For information", "Rules of severity info that failed. They are only listed."),
    "pass": ("Passed", ""),
    "not applicable": ("Not applicable", "The policy has this rule, and it does not apply here."),
}


def _group(rule: RuleResult) -> str:
    return rule.severity if rule.verdict == "fail" else rule.verdict


_OVERVIEW_LEAD = (
    "Severity block: a failure refuses the model. warn: a failure is shown as a warning. info: a "
    "failure is only listed."
)


def _overview(rules: Sequence[RuleResult]) -> str:
    return table(
        ["Rule", "Verdict", "Severity", "Measured", "Bound"],
        [
            [
                Cell(rule.rule, strong=True),
                Cell(rule.verdict, tone=_tone(rule)),
                rule.severity,
                _figure(rule.value),
                _figure(rule.bound),
            ]
            for rule in rules
        ],
        numeric=(3, 4),
    )


def _warnings(rules: Sequence[RuleResult]) -> str:
    failed = [rule for rule in rules if (rule.verdict, rule.severity) == ("fail", "warn")]
    return " ".join(f"Warning: {rule.rule}. {rule.sentence}" for rule in failed)


def _rule_groups(rules: Iterable[RuleResult], descriptions: Mapping[str, str]) -> list[Section]:
    groups: dict[str, list[RuleResult]] = {}
    for rule in rules:
        groups.setdefault(_group(rule), []).append(rule)
    return [
        Section(
            _GROUPS[name][0],
            "".join(_rule(rule, descriptions[rule.rule]) for rule in group),
            _GROUPS[name][1],
        )
        for name, group in groups.items()
    ]


def _rule(rule: RuleResult, description: str) -> str:
    texts = {"Requirement": description, "What was found": rule.sentence}
    because = muted(f"Why the policy has it: {rule.because}") if rule.because else ""
    return (
        heading(rule.rule)
        + f"<p>{badge(rule.verdict, _tone(rule))}</p>\n"
        + row(*(muted(title) + paragraph(text) for title, text in texts.items() if text))
        + because
    )


def _tone(rule: RuleResult) -> Tone:
    if rule.verdict == "fail":
        tones: dict[str, Tone] = {"block": "bad", "warn": "warn"}
        return tones.get(rule.severity, "plain")
    return "good" if rule.verdict == "pass" else "plain"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    # From a thousand on, four digits would be written with an exponent.
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _meanings(evaluation: Evaluation, policy: Policy) -> list[Section]:
    named = [evaluation.metric]
    for rule in RULES:
        named += rule.metrics(policy, evaluation)
    rows = [[name, DESCRIPTIONS[name]] for name in dict.fromkeys(named) if name in DESCRIPTIONS]
    if not rows:
        return []
    lead = "An advantage is above 0 where the model is better, whichever way a metric runs."
    return [Section("What the figures mean", table(["Metric", "What it says"], rows), lead)]


def _notes(evaluation: Evaluation) -> list[Section]:
    notes = [*evaluation.notes]
    # The evaluation's notes quote it, but not those of an earlier release.
    champion = evaluation.champion_note
    if champion and not any(champion in note for note in notes):
        notes.insert(0, champion)
    if not notes:
        return []
    return [Section("Notes", "".join(map(paragraph, notes)), "From the evaluation.")]


def _rests_on(decision: Decision) -> str:
    named = {
        "Model": decision.model,
        "Holdout data": decision.dataset,
        "Evaluation": decision.evaluation,
        "Policy": decision.policy,
        "Operations": decision.operations,
        "Champion": decision.champion,
        "Training code (git commit)": decision.commit,
        "Penstock": decision.code,
        "Image": decision.image,
        "This decision": decision.digest(),
    }
    return table(["What", "Which"], [[what, which or "none"] for what, which in named.items()])
