"""The model card: what a model is for, as its owner says, and what was measured of it.

Its sections are those of Mitchell et al., 2019, "Model cards for model reporting". Everything in it
comes from a record; nothing is computed here. What is absent is marked as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import IntegrityError
from penstock.gate.evaluation import Evaluation
from penstock.records.approval import Approval
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.explanation import Explanation
from penstock.records.model import Model, OwnCode
from penstock.records.operations import Operations
from penstock.records.quality import Validation
from penstock.registry import _card_figures as figures
from penstock.registry import audit
from penstock.registry.approvals import read as read_approvals
from penstock.registry.pack_records import OWNER, read_pack
from penstock.registry.spec import CardSpec
from penstock.registry.versions import Version
from penstock.reports.blocks import Block, Grid, Listed, Part, Text, as_html, as_markdown, figure

UNSAID = "Not stated in the section `card` of the project file."


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
    validation: Validation | None = None,
    evaluation: Evaluation | None = None,
    decision: Decision | None = None,
    explanation: Explanation | None = None,
    operations: Operations | None = None,
    approvals: Sequence[Approval] = (),
) -> Card:
    """Return the card of a model, from whatever records there are.

    Args:
        model: The model's record.
        digest: Digest of its folder; every record must be of this one.
        name: The registered model, or the project.
        uri: `models:/name/version`, once there is one.
        spec: The project file's section `card`.
        training: Record of the training part.
        holdout: Record of the rows it was judged on.
        split: How the two were divided.
        validation: What the expectations found in the data.
        evaluation: What was measured on the holdout.
        decision: The gate's decision.
        explanation: Which columns its predictions depend on.
        operations: How it serves.
        approvals: Approvals and rejections by people, in their order.

    Raises:
        IntegrityError: If a record is of another model, or of other data than the rest.
    """
    stated = spec if spec is not None else CardSpec()
    _check(
        model,
        digest,
        training=training,
        holdout=holdout,
        split=split,
        validation=validation,
        evaluation=evaluation,
        decision=decision,
        explanation=explanation,
        operations=operations,
        approvals=approvals,
    )
    parts = [
        _details(model, stated, uri=uri),
        Part("Intended use", [Text(stated.intended_use or UNSAID)]),
        Part("Out of scope", [Text(stated.out_of_scope or UNSAID)]),
        figures.metrics(evaluation),
        *figures.rules(evaluation, operations),
        *figures.data(model, training, holdout, split, validation),
        figures.rests_on(explanation),
        _decision(decision),
        _approvals(approvals),
        Part("Ethical considerations", [Text(stated.ethics or UNSAID)]),
        _limits(stated, evaluation, explanation),
        _versions(model, digest, decision=decision, evaluation=evaluation, holdout=holdout),
    ]
    title, verdict = f"{name}: {model.target}", _headline(model, evaluation, decision)
    facts = [
        ("Version", uri or "not registered"),
        ("Owner", stated.owner or "not stated"),
        ("Contact", stated.contact or "not stated"),
        ("License", stated.license or "not stated"),
        ("Model digest", digest),
    ]
    return Card(
        html=as_html(parts, title=title, verdict=verdict, facts=facts),
        markdown=as_markdown(parts, title=title, verdict=verdict, facts=facts),
    )


def final_card(pack: Path, *, version: Version, model_tags: Mapping[str, str]) -> Card | None:
    """Return the card of a released version; None where the pack was made without one.

    The card in the pack was written before the version had a number and before anybody approved it.
    It stays as it was.

    Args:
        pack: The version's evidence.
        version: The version, whose tags hold the approvals.
        model_tags: Tags of its registered model, which hold the log.

    Raises:
        NotApprovedError: If an approval was tampered with.
        IntegrityError: If a record of the pack is of another model.
    """
    if not (pack / OWNER).exists():
        return None
    records = read_pack(pack)
    return model_card(
        records.model,
        digest=version.model,
        name=version.name,
        uri=version.uri,
        spec=records.stated,
        training=records.train,
        holdout=records.holdout,
        split=records.split,
        validation=records.validation,
        evaluation=records.evaluation,
        decision=records.decision,
        explanation=records.explanation,
        operations=records.operations,
        approvals=read_approvals(version.tags, log=audit.read(model_tags)),
    )


def _headline(model: Model, evaluation: Evaluation | None, decision: Decision | None) -> str:
    kind = {"binary": "one of two classes", "multiclass": "a class", "regression": "a number"}
    sentences = [f"It predicts {model.target}, {kind[model.task]}."]
    primary = evaluation.candidate.metrics.get(evaluation.metric) if evaluation else None
    if evaluation is not None and primary is not None:
        sentences.append(f"{evaluation.metric} on the holdout: {figure(primary)}.")
    else:
        sentences.append("It was not measured on holdout rows.")
    if decision is None:
        sentences.append("It was not judged by the gate.")
    else:
        sentences.append(decision.reason())
    return " ".join(sentences)


def _details(model: Model, stated: CardSpec, *, uri: str) -> Part:
    settings = ", ".join(f"{name} {value}" for name, value in model.parameters.items())
    rows = [
        ["Version", uri or "not registered"],
        ["Kind of model", model.name],
        *([["Own code", _own_code(model.code)]] if model.code is not None else []),
        ["Settings", settings or "none"],
        ["Task", model.task],
        ["Target", model.target],
    ]
    if model.classes:
        rows.append(["Classes", ", ".join(map(str, model.classes))])
    if model.positive is not None:
        rows.append(["Positive class", str(model.positive)])
    rows += [
        ["Input columns", ", ".join(column.name for column in model.columns)],
        ["Owner", stated.owner or "not stated"],
        ["Contact", stated.contact or "not stated"],
        ["License", stated.license or "not stated"],
    ]
    return Part("Model details", [Grid(["What", "Which"], rows)])


def _own_code(code: OwnCode) -> str:
    metric = "" if code.metric is None else code.metric.function
    named = ", ".join(text for text in (code.estimator, code.transformer, metric) if text)
    return f"{named}; the model carries {len(code.files)} files"


def _decision(decision: Decision | None) -> Part:
    if decision is None:
        return Part("The gate's decision", [Text("None: this model was not judged by the gate.")])
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
    headers = ["Who", "Identified by", "Verdict", "Reason", "When", "Valid until"]
    return Part("Approvals by people", [Grid(headers, rows)])


def _limits(
    stated: CardSpec, evaluation: Evaluation | None, explanation: Explanation | None
) -> Part:
    measured = [
        *(evaluation.notes if evaluation is not None else ()),
        *(explanation.notes if explanation is not None else ()),
    ]
    blocks: list[Block] = [Listed(stated.limits) if stated.limits else Text(UNSAID)]
    if measured:
        blocks += [Text("Notes of the evaluation:"), Listed(measured)]
    blocks.append(
        Text(
            "These figures hold for rows like those that were measured, not for other times, "
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
        ["Dataset version", model.dataset_version],
        ["Training part", model.dataset],
        [
            "Evaluation data",
            holdout.content if holdout else evaluation.dataset if evaluation else "",
        ],
        ["Evaluation", evaluation.digest() if evaluation else ""],
        ["Decision", decision.digest() if decision else ""],
        ["Policy", decision.policy if decision else ""],
        ["Champion it was compared with", evaluation.champion if evaluation else ""],
        ["Training code (git commit)", model.commit],
        *([["The project's own code", model.code.digest]] if model.code is not None else []),
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
    validation: Validation | None,
    evaluation: Evaluation | None,
    decision: Decision | None,
    explanation: Explanation | None,
    operations: Operations | None,
    approvals: Sequence[Approval],
) -> None:
    """Refuse to put records of different models on one card."""
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
    if validation is not None and validation.quarantine is not None:
        kept = validation.quarantine.kept
        pairs.append(("the data without quarantined rows", kept, model.dataset_version))
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
