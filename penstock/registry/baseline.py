"""The baseline of a registered version: read from its evidence, each file checked by its digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from penstock import tracking
from penstock.common import files
from penstock.errors import IntegrityError
from penstock.gate.evaluation import Evaluation
from penstock.gate.rules.business_value import RULE
from penstock.metrics.business_value import DecisionValue
from penstock.records.base import Record
from penstock.records.baseline import FILE_NAME, Baseline
from penstock.records.estimate import Estimate
from penstock.records.evidence import MANIFEST, Evidence, folder_of
from penstock.records.explanation import FILE_NAME as EXPLANATION
from penstock.records.explanation import Explanation, Importance
from penstock.registry import versions
from penstock.registry.versions import Version, answers

R = TypeVar("R", bound=Record)

POLICY = "policy.json"


@dataclass(frozen=True)
class VersionBaseline:
    """What a version was released with, as far as it was kept.

    The distributions of its columns are `reference.json` of the model's folder.

    Attributes:
        baseline: How the model scored the holdout; None: an older release registered it, or its
            pipeline handed no baseline over.
        evaluation: What was measured there; None: it was not handed over.
        cost: How the policy that it was decided on values a decision, as `DecisionValue` takes it;
            None: it does not.
        value: What 1,000 decisions were worth on the holdout; None: it was not measured.
        attributions: Each column's SHAP values by deciles, the largest first; empty: it was
            registered without an explanation.
        explanation: All of it.
        notes: What there is not, and why, in sentences.
    """

    baseline: Baseline | None
    evaluation: Evaluation | None = None
    cost: dict[str, Any] | None = None
    value: Estimate | None = None
    attributions: tuple[Importance, ...] = ()
    explanation: Explanation | None = None
    notes: tuple[str, ...] = ()


def load_baseline(version: Version, *, tracking_uri: str) -> VersionBaseline:
    """Return the baseline of a version, as it was when it was registered.

    Args:
        version: The version, for example of `versions.registered("models:/adult@champion", ...)`.
        tracking_uri: The MLflow store.

    Raises:
        IntegrityError: If a file is not the one that was registered.
        InputError: If a file that was kept cannot be read.
        ServiceError: If the registry or its artifact store does not answer.
    """
    expected = version.tags.get(versions.EVIDENCE_DIGEST, "")
    if not expected:
        return VersionBaseline(None, notes=(f"{version.uri} was registered without evidence.",))
    versions.require_as_registered(version, tracking_uri=tracking_uri)
    with TemporaryDirectory() as place:
        evidence = _Pack(version, tracking_uri=tracking_uri, into=Path(place))
        manifest = Evidence.read(evidence.download(MANIFEST))
        if manifest.digest() != expected:
            raise _altered(version, MANIFEST, expected, manifest.digest())
        baseline = evidence.record(Baseline, FILE_NAME, manifest)
        evaluation = evidence.record(Evaluation, "evaluation.json", manifest)
        explanation = evidence.record(Explanation, EXPLANATION, manifest)
        policy = evidence.checked(POLICY, manifest)
        cost = None if policy is None else json.loads(policy.read_text(encoding="utf-8"))["cost"]
    measured = None if evaluation is None else RULE.measured(evaluation)
    notes = []
    if baseline is None:
        notes.append(
            f"{version.uri} has no baseline: it was registered by an older release, or its "
            "pipeline handed none over. Release it again to get one."
        )
    if explanation is None:
        notes.append(f"{version.uri} was registered without an explanation: no attributions.")
    return VersionBaseline(
        baseline=baseline,
        evaluation=evaluation,
        cost=None if cost is None else _value_of(cost),
        value=None if measured is None else measured.per_thousand,
        attributions=() if explanation is None else explanation.importances,
        explanation=explanation,
        notes=tuple(notes),
    )


def _value_of(cost: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decisions are worth, by a rule's settings; some defaults are not recorded."""
    return {name: cost[name] for name in DecisionValue.model_fields if name in cost}


@dataclass(frozen=True)
class _Pack:
    """The evidence of a version, of which single files are downloaded."""

    version: Version
    tracking_uri: str
    into: Path

    def record(self, kind: type[R], name: str, manifest: Evidence) -> R | None:
        """Return a record of the pack; None if the manifest does not name it."""
        path = self.checked(name, manifest)
        return None if path is None else kind.read(path)

    def checked(self, name: str, manifest: Evidence) -> Path | None:
        """Return a file of the pack; None if the manifest does not name it."""
        expected = manifest.files.get(name)
        if expected is None:
            return None
        path = self.download(name)
        found = files.digest_of_file(path)
        if found != expected:
            raise _altered(self.version, name, expected, found)
        return path

    def download(self, name: str) -> Path:
        place = folder_of(self.version.tags.get(versions.DECISION_DIGEST, ""))
        store = tracking.client(self.tracking_uri)
        with answers(self.tracking_uri):
            return Path(
                store.download_artifacts(self.version.run, f"{place}/{name}", str(self.into))
            )


def _altered(version: Version, name: str, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        f"{name} has digest {found}, but {expected} was registered",
        where=version.uri,
        remedy=f"The evidence was changed after it was registered: penstock verify {version.uri} "
        "lists what differs. Release again.",
    )
