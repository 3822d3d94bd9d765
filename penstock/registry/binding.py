"""Whether a decision was made on what is handed over with it, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import penstock
from penstock.errors import IntegrityError
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.explanation import Explanation
from penstock.records.model import Model
from penstock.records.operations import Operations
from penstock.registry.champion import Champion


def require_bound(
    decision: Decision,
    *,
    model: Model,
    evaluation: Evaluation | None,
    operations: Operations | None,
    policy: Policy | None,
    image: str | None,
) -> None:
    """Return only if every field of the decision is of what is handed over.

    With the policy and the evaluation the rules are applied again: the gate is pure, so a decision
    whose rules were edited does not come out as it stands. Fields that a decision of an earlier
    release does not have are required only where the policy is handed over.

    Raises:
        IntegrityError: Naming the field that differs.
    """
    if evaluation is not None:
        _require("evaluation", decision.evaluation, evaluation.digest())
    if operations is not None or decision.operations:
        found = "" if operations is None else operations.digest()
        _require("operations", decision.operations, found)
    if policy is not None:
        _require("policy", decision.policy, policy.digest())
    if decision.commit or policy is not None:
        _require("commit", decision.commit, model.commit)
    if decision.code or policy is not None:
        _require("code", decision.code, penstock.__version__)
    if image is not None:
        _require("image", decision.image, image)
    if policy is not None and evaluation is not None:
        _require_same_verdict(decision, evaluation=evaluation, operations=operations, policy=policy)


def require_holdout(decision: Decision, holdout: Path) -> Dataset:
    """Return the holdout's record if the decision was made on these very rows.

    Raises:
        IntegrityError: If the record or the rows, which are digested again, are others.
        InputError: If there is no readable record.
    """
    # Deploying compares decisions too, in an image that digests no rows.
    from penstock.data.hashing.rows import content_of

    dataset = Dataset.of(holdout)
    _require("dataset", decision.dataset, dataset.content)
    found = content_of(holdout)
    if found != dataset.content:
        raise IntegrityError(
            f"the rows of the holdout have digest {found}, its record says {dataset.content}",
            where="dataset",
            remedy="The rows were changed after they were held out: run the pipeline again.",
        )
    return dataset


def require_explanation(decision: Decision, explanation: Explanation) -> None:
    """Return only if the explanation is of the model and holdout that were decided on."""
    _require("explanation.model", decision.model, explanation.model)
    _require("explanation.dataset", decision.dataset, explanation.dataset)


def require_split(decision: Decision, *, model: Model, split: Split) -> None:
    """Return only if the split made the holdout and the model's training part."""
    _require("split.holdout", decision.dataset, split.holdout)
    if split.train != model.dataset:
        raise IntegrityError(
            f"the model was trained on dataset {model.dataset}, the split made {split.train}",
            where="split.train",
        )


def require_champion(decision: Decision, *, champion: Champion, name: str) -> None:
    """Return only if the champion is still the one that the decision compared with.

    Raises:
        IntegrityError: If it is another, or the alias does not match the audit log.
    """
    version = champion.require_recorded(name)
    if not decision.code:
        # Made by an earlier release, which did not record the champion.
        return
    now = "" if version is None else version.uri
    if now != decision.champion:
        raise IntegrityError(
            f"the decision is stale: it compared with the champion {decision.champion or 'none'}, "
            f"and now it is {now or 'none'}",
            where="champion",
            remedy="Evaluate and decide again, against the present champion.",
        )


def compared_with(decision: Decision) -> int | Literal["any"] | None:
    """Return the version that was champion when a decision was made; any: it does not say."""
    if not decision.code:
        return "any"
    return int(decision.champion.rpartition("/")[2]) if decision.champion else None


def _require(field: str, decided: str, found: str) -> None:
    if decided != found:
        raise IntegrityError(
            f"the decision was made on {field} {decided or 'none'}, not on this one "
            f"({found or 'none'})",
            where=field,
            remedy=f"Hand over the {field.partition('.')[0]} that the decide step was given, or "
            "run the gate again.",
        )


def _require_same_verdict(
    decision: Decision, *, evaluation: Evaluation, operations: Operations | None, policy: Policy
) -> None:
    """Judge again, and compare."""
    again = decide(evaluation, policy=policy, operations=operations, image=decision.image)
    for field in ("model", "dataset", "champion", "rules", "approved"):
        if getattr(again, field) != getattr(decision, field):
            raise IntegrityError(
                f"the gate, run again, gives another {field} than the decision says",
                where=field,
                remedy="Its record was edited after the decide step wrote it: run that step again.",
            )
