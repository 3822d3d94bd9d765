"""Technical documentation by the headings of Annex IV of the EU's AI Act, from the evidence alone.

Headings: Regulation (EU) 2024/1689, Annex IV, points 1 to 9, shortened. What the evidence does not
say is marked so: this is a beginning for people who write the rest, and no statement that it is
enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from penstock.passport.facts import UNKNOWN, Facts, sentences
from penstock.records.dataset import Dataset
from penstock.records.evidence import AuditEntry
from penstock.registry import audit
from penstock.reports.blocks import Grid, Part, as_markdown, figure

_ELSEWHERE = "Not in the evidence, and for the provider to write."
_COLUMNS = 12


@dataclass(frozen=True)
class _Point:
    """A point of the annex and what the evidence says to it."""

    number: str
    heading: str
    answer: Callable[[Facts], str]


def technical_documentation(facts: Facts) -> str:
    """Return the documentation in Markdown: every point, with what is known or that it is not.

    Args:
        facts: What the evidence says.
    """
    parts = [
        Part(title, [Grid(["Point", "What it asks for", "What is known"], _rows(facts, points))])
        for title, points in _POINTS.items()
    ]
    answers = [row[2] for part in parts for block in part.blocks for row in _cells(block)]
    known = sum(not answer.startswith(("Not known", _ELSEWHERE)) for answer in answers)
    return as_markdown(
        [
            *parts,
            Part("Digests", [Grid(["Of", "Digest"], [[*pair] for pair in facts.digests.items()])]),
        ],
        title=f"Technical documentation of {facts.version.uri}",
        verdict="By the headings of Annex IV of Regulation (EU) 2024/1689. Made from the evidence "
        f"of the release alone: it says something to {known} of {len(answers)} points. Whether "
        "that is enough is for the provider to judge.",
        facts=[
            ("Version", facts.version.uri),
            ("Registered", f"{facts.registered:%Y-%m-%d %H:%M} UTC"),
            ("Provider", facts.owner.owner or UNKNOWN),
        ],
    )


def _cells(block: object) -> Sequence[Sequence[str]]:
    return block.rows if isinstance(block, Grid) else []


def _rows(facts: Facts, points: Sequence[_Point]) -> list[list[str]]:
    return [[each.number, each.heading, each.answer(facts) or UNKNOWN] for each in points]


def _elsewhere(_: Facts) -> str:
    return _ELSEWHERE


def _purpose(facts: Facts) -> str:
    stated = facts.owner
    return sentences(
        (
            f"Intended use: {stated.intended_use}" if stated.intended_use else "",
            f"Out of scope: {stated.out_of_scope}" if stated.out_of_scope else "",
            f"Provider: {stated.owner}" if stated.owner else "Provider: not stated",
            f"Version: {facts.version.uri}",
            _compared_with(facts),
        )
    )


def _compared_with(facts: Facts) -> str:
    champion = facts.decision.champion
    return (
        f"Compared with {champion}, the champion then"
        if champion
        else "It had no champion before it"
    )


def _software(facts: Facts) -> str:
    named = [f"{name} {version}" for name, version in sorted(facts.model.libraries.items())]
    return sentences((f"Penstock {facts.evidence.code}", ", ".join(named)))


def _forms(facts: Facts) -> str:
    onnx = f", ONNX form {facts.evidence.export}" if facts.evidence.export else ", no ONNX form"
    image = (
        f"Image: {facts.evidence.image}" if facts.evidence.image else "It was released in no image"
    )
    return sentences((f"Model folder {facts.evidence.model}{onnx}", image))


def _development(facts: Facts) -> str:
    model = facts.model
    return sentences(
        (
            f"A search over settings, by {model.metric}, chose {model.name}",
            model.folds.text if model.folds else "",
            model.sample.text if model.sample else "",
            model.calibration.text if model.calibration else "",
            f"Own code of the project: {', '.join(model.code.files)}" if model.code else "",
            f"Git commit {model.commit}" if model.commit else "",
            f"Seed {model.seed}",
        )
    )


def _design(facts: Facts) -> str:
    model = facts.model
    settings = ", ".join(f"{name} = {value}" for name, value in model.parameters.items())
    asked = f"Predicts {model.target} ({model.task}) from {len(model.columns)} columns"
    threshold = "" if model.threshold is None else f"Decision threshold {model.threshold:.4g}"
    return sentences((asked, f"Settings: {settings or 'none'}", threshold, _importances(facts)))


def _importances(facts: Facts) -> str:
    if facts.explanation is None:
        return ""
    named = [one.column for one in facts.explanation.importances[:_COLUMNS]]
    return f"Columns by what they add to predictions, the largest first: {', '.join(named)}"


def _data(facts: Facts) -> str:
    return sentences(
        (
            _dataset("Training part", facts.train, facts.evidence.dataset),
            _dataset("Holdout", facts.holdout, facts.evidence.holdout),
            *(facts.split.remarks() if facts.split else ()),
            *(facts.train.notes if facts.train else ()),
            _validated(facts),
        )
    )


def _dataset(name: str, record: Dataset | None, digest: str) -> str:
    if record is None:
        return f"{name} {digest}, of which no record was kept"
    counted = f"{record.rows:,} rows, {len(record.columns)} columns"
    return f"{name} {digest}: {counted}, from {record.source_text}"


def _validated(facts: Facts) -> str:
    if facts.validation is None:
        return ""
    findings = facts.validation.findings
    failed = sum(finding.failed for finding in findings)
    return f"{len(findings)} checks of the data, of which {failed} failed"


def _oversight(facts: Facts) -> str:
    given = [
        f"{each.verdict} by {each.by.name} ({each.by.means}), {each.time:%Y-%m-%d}: {each.reason}"
        for each in facts.given
    ]
    people = given or ["No approval by a person is recorded"]
    return sentences((*people, _explained(facts)))


def _explained(facts: Facts) -> str:
    if facts.explanation is None:
        return "Predictions were not explained"
    return f"Predictions were explained: {facts.explanation.method}"


def _testing(facts: Facts) -> str:
    judged = [f"{rule.rule}: {rule.verdict}. {rule.sentence}" for rule in facts.decision.ordered]
    return sentences((facts.decision.reason(), *judged))


def _security(facts: Facts) -> str:
    types = ", ".join(facts.model.trusted_types) or "none besides those of skops"
    return sentences(
        (
            "Files and evidence are known by SHA-256 and checked before every load",
            f"Types that its file may load besides those that skops takes: {types}",
        )
    )


def _performance(facts: Facts) -> str:
    if facts.evaluation is None:
        return ""
    measured = facts.evaluation.candidate.metrics
    figures = [f"{name} {figure(estimate)}" for name, estimate in measured.items()]
    return sentences(
        (
            f"On {facts.evaluation.rows:,} rows of the holdout, with "
            f"{facts.evaluation.confidence:.0%} intervals: {'; '.join(figures)}",
            *facts.evaluation.sentences(),
            *facts.evaluation.notes,
            *facts.owner.limits,
        )
    )


def _risks(facts: Facts) -> str:
    return facts.owner.ethics


def _inputs(facts: Facts) -> str:
    return ", ".join(f"{column.name} ({column.type})" for column in facts.model.columns)


def _metrics(facts: Facts) -> str:
    text = f"The search and the gate use {facts.model.metric}"
    because = [f"{rule.rule}: {rule.because}" for rule in facts.decision.rules if rule.because]
    return sentences((text, *because))


def _changes(facts: Facts) -> str:
    return sentences(_told(entry) for entry in facts.log)


def _told(entry: AuditEntry) -> str:
    why = f" ({entry.reason.rstrip('.')})" if entry.reason else ""
    return f"{entry.time:%Y-%m-%d %H:%M} UTC: {entry.event} by {audit.actor_of(entry)}{why}"


def _points(*points: tuple[str, str, Callable[[Facts], str]]) -> tuple[_Point, ...]:
    return tuple(_Point(*each) for each in points)


_POINTS = {
    "1. General description of the AI system": _points(
        (
            "1(a)",
            "Intended purpose, provider, version and its relation to earlier versions",
            _purpose,
        ),
        ("1(b)", "Interaction with hardware or software that is not part of it", _elsewhere),
        ("1(c)", "Versions of relevant software, and requirements on updates", _software),
        ("1(d)", "Forms in which it is placed on the market or put into service", _forms),
        ("1(e)", "Hardware on which it is intended to run", _elsewhere),
        ("1(f)", "Where it is a component of products: photographs or illustrations", _elsewhere),
        ("1(g)", "Basic description of the user interface", _elsewhere),
        ("1(h)", "Instructions for use for the deployer", _elsewhere),
    ),
    "2. Elements of the system, and the process of its development": _points(
        ("2(a)", "Methods and steps of the development", _development),
        ("2(b)", "Design specifications: logic, design choices, what is optimised", _design),
        ("2(c)", "System architecture, and computational resources used", _elsewhere),
        ("2(d)", "Data requirements: data sets, provenance, selection, labelling, cleaning", _data),
        ("2(e)", "Human oversight measures, and measures to interpret outputs", _oversight),
        ("2(f)", "Changes to the system that are determined in advance", _elsewhere),
        ("2(g)", "Validation and testing: data, metrics, discriminatory impact, reports", _testing),
        ("2(h)", "Cybersecurity measures", _security),
    ),
    "3. Monitoring, functioning and control": _points(
        ("3", "Capabilities and limits, accuracy for groups, expected accuracy", _performance),
        ("3", "Foreseeable unintended outcomes and sources of risk", _risks),
        ("3", "Specifications on input data", _inputs),
    ),
    "4. Appropriateness of the performance metrics": _points(
        ("4", "Why these metrics are appropriate for this system", _metrics)
    ),
    "5. Risk management system (Article 9)": _points(
        ("5", "Description of the risk management system", _elsewhere)
    ),
    "6. Relevant changes through the lifecycle": _points(
        ("6", "Changes made by the provider", _changes)
    ),
    "7. Harmonised standards": _points(
        ("7", "Standards applied, or the solutions adopted instead", _elsewhere)
    ),
    "8. EU declaration of conformity": _points(("8", "Copy of the declaration", _elsewhere)),
    "9. Evaluation of performance after placing on the market": _points(
        ("9", "The system in place, with the post-market monitoring plan (Article 72)", _elsewhere)
    ),
}
