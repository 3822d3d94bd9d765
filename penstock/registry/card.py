"""The model card: what a model is for, in its owner's words, and what was measured of it.

Its parts are those of Mitchell et al., 2019, "Model cards for model reporting". Everything in it is
a record's; nothing is computed here. What is absent is said to be absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import IntegrityError
from penstock.gate.evaluation import Evaluation
from penstock.records.approval import Approval
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.explanation import Explanation
from penstock.records.model import Model
from penstock.records.operations import Operations
from penstock.registry import _card_figures as figures
from penstock.registry.spec import CardSpec
from penstock.reports.blocks import Block, Grid, Listed, Part, Text, as_html, as_markdown, figure

UNSAID = "Not stated: the project file's section `card` does not say."


@dataclass(frozen=True)
class Card:
    """A model card in both of its forms."""

    html: str
    markdown: str


def model_card(
    model: Model,
    *,
    digest: str,
    name: str,
    uri: str = "",
    spec: CardSpec | None = None,
    training: Dataset | None = None,
    holdout: Dataset | None = None,
    split: Split | None = None,
    evaluation: Evaluation | None = None,
    decision: Decision | None = None,
    explanation: Explanation | None = None,
    operations: Operations | None = None,
    approvals: Sequence[Approval] = (),
) -> Card:
    """Return the card of a model, from whatever records there are.

    Args:
        model: The model's record.
        digest: Digest of its folder; every record must speak of this one.
        name: The registered model, or the project.
        uri: `models:/name/version`, once there is one.
        spec: The project file's section `card`.
        training: Record of the training part.
        holdout: Record of the rows it was judged on.
        split: How the two were divided.
        evaluation: What was measured on the holdout.
        decision: The gate's word.
        explanation: What its answers rest on.
        operations: How it serves.
        approvals: What people said, in the order in which they said it.

    Raises:
        IntegrityError: If a record is of another model, or of other data than the rest.
    """
    said = spec if spec is not None else CardSpec()
    _check(
        model,
        digest,
        training=training,
        holdout=holdout,
        split=split,
        evaluation=evaluation,
        decision=decision,
        explanation=explanation,
        operations=operations,
        approvals=approvals,
    )
    parts = [
        _details(model, said, uri=uri),
        Part("Intended use", [Text(said.intended_use or UNSAID)]),
        Part("Out of scope", [Text(said.out_of_scope or UNSAID)]),
        figures.metrics(evaluation),
        *figures.rules(evaluation, operations),
        *figures.data(training, holdout, split),
        figures.rests_on(explanation),
        _decision(decision),
        _approvals(approvals),
        Part("Ethical considerations", [Text(said.ethics or UNSAID)]),
        _limits(said, evaluation, explanation),
        _versions(model, digest, decision=decision, evaluation=evaluation, holdout=holdout),
    ]
    title, verdict = f"{name}: {model.target}", _headline(model, evaluation, decision)
    facts = [
        ("Version", uri or "not registered"),
        ("Owner", said.owner or "not stated"),
        ("Contact", said.contact or "not stated"),
        ("License", said.license or "not stated"),
        ("Model digest", digest),
    ]
    return Card(
        html=as_html(parts, title=title, verdict=verdict, facts=facts),
        markdown=as_markdown(parts, title=title, verdict=verdict, facts=facts),
    )


def _headline(model: Model, evaluation: Evaluation | None, decision: Decision | None) -> str:
    kind = {"binary": "one of two classes", "multiclass": "a class", "regression": "a number"}
    told = [f"It predicts {model.target}, {kind[model.task]}."]
    primary = evaluation.candidate.metrics.get(evaluation.metric) if evaluation else None
    if evaluation is not None and primary is not None:
        told.append(f"{evaluation.metric} on rows it had not seen: {figure(primary)}.")
    else:
        told.append("It was not measured on rows that it had not seen.")
    if decision is None:
        told.append("No gate has judged it.")
    else:
        told.append(decision.reason())
    return " ".join(told)


def _details(model: Model, said: CardSpec, *, uri: str) -> Part:
    settings = ", ".join(f"{name} {value}" for name, value in model.parameters.items())
    rows = [
        ["Version", uri or "not registered"],
        ["Kind of model", model.name],
        ["Settings", settings or "none"],
        ["Task", model.task],
        ["Target", model.target],
    ]
    if model.classes:
        rows.append(["Classes", ", ".join(map(str, model.classes))])
    if model.positive is not None:
        rows.append(["Class that is scored", str(model.positive)])
    rows += [
        ["Columns it takes", ", ".join(column.name for column in model.columns)],
        ["Owner", said.owner or "not stated"],
        ["Contact", said.contact or "not stated"],
        ["License", said.license or "not stated"],
    ]
    return Part("Model details", [Grid(["What", "Which"], rows)])


def _decision(decision: Decision | None) -> Part:
    if decision is None:
        return Part("The gate's decision", [Text("There is none: no gate has judged this model.")])
    rows = [
        [
            rule.rule,
            rule.verdict,
            rule.severity,
            rule.sentence,
        ]
        for rule in decision.ordered
    ]
    lead = f"{decision.reason()} The policy is {decision.policy}."
    grid = Grid(["Rule", "Verdict", "Severity", "What was found"], rows)
    return Part("The gate's decision", [Text(lead), grid])


def _approvals(approvals: Sequence[Approval]) -> Part:
    if not approvals:
        return Part("Approvals by people", [Text("None is recorded here.")])
    rows = [
        [
            approval.by.name,
            approval.by.means,
            approval.verdict,
            approval.reason,
            f"{approval.time:%Y-%m-%d %H:%M %Z}",
            f"{approval.expires:%Y-%m-%d %H:%M %Z}",
        ]
        for approval in approvals
    ]
    headers = ["Who", "Known by", "Said", "Why", "When", "Until"]
    return Part("Approvals by people", [Grid(headers, rows)])


def _limits(said: CardSpec, evaluation: Evaluation | None, explanation: Explanation | None) -> Part:
    measured = [
        *(evaluation.notes if evaluation is not None else ()),
        *(explanation.notes if explanation is not None else ()),
    ]
    blocks: list[Block] = [Listed(said.limits) if said.limits else Text(UNSAID)]
    if measured:
        blocks += [Text("Notes of the evaluation:"), Listed(measured)]
    blocks.append(
        Text(
            "Figures hold for rows like those it was measured on. They say nothing of other times, "
            "places or people."
        )
    )
    return Part("Limits and caveats", blocks)


def _versions(
    model: Model,
    digest: str,
    *,
    decision: Decision | None,
    evaluation: Evaluation | None,
    holdout: Dataset | None,
) -> Part:
    rows = [
        ["Model", digest],
        ["Training data", model.dataset],
        [
            "Evaluation data",
            holdout.content if holdout else evaluation.dataset if evaluation else "",
        ],
        ["Evaluation", evaluation.digest() if evaluation else ""],
        ["Decision", decision.digest() if decision else ""],
        ["Policy", decision.policy if decision else ""],
        ["Champion it was compared with", evaluation.champion if evaluation else ""],
        ["Training code (git commit)", model.commit],
        ["Seed", str(model.seed)],
        *([library, version] for library, version in sorted(model.libraries.items())),
    ]
    return Part(
        "Versions", [Grid(["What", "Which"], [[what, which or "none"] for what, which in rows])]
    )


def _check(
    model: Model,
    digest: str,
    *,
    training: Dataset | None,
    holdout: Dataset | None,
    split: Split | None,
    evaluation: Evaluation | None,
    decision: Decision | None,
    explanation: Explanation | None,
    operations: Operations | None,
    approvals: Sequence[Approval],
) -> None:
    """Refuse to set records of different things on one card."""
    pairs: list[tuple[str, str, str]] = []
    for kind, record in (
        ("evaluation", evaluation),
        ("decision", decision),
        ("explanation", explanation),
        ("operations", operations),
        *(("approval", approval) for approval in approvals),
    ):
        if record is not None:
            pairs.append((f"the {kind}'s model", record.model, digest))
    if training is not None:
        pairs.append(("the training data", training.content, model.dataset))
    if split is not None:
        pairs.append(("the split's training part", split.train, model.dataset))
    if evaluation is not None and holdout is not None:
        pairs.append(("the evaluation data", holdout.content, evaluation.dataset))
    if evaluation is not None and decision is not None:
        pairs.append(("the decision's evaluation", decision.evaluation, evaluation.digest()))
    for what, found, expected in pairs:
        if found != expected:
            raise IntegrityError(
                f"{what} is {found}, expected {expected}",
                where="model card",
                remedy="Give the records of one and the same model.",
            )
