"""The evidence pack of a version: written once when it is registered, and added to by a rollout."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import penstock
from penstock import tracking
from penstock.common import files
from penstock.errors import InputError
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.records.base import Record
from penstock.records.baseline import Baseline
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.evidence import (
    FOLDER,
    MANIFEST,
    Evidence,
    RolloutEvidence,
    folder_of,
)
from penstock.records.explanation import Explanation
from penstock.records.export import Export
from penstock.records.model import Model
from penstock.records.operations import Operations
from penstock.records.quality import Validation
from penstock.records.rollout import Rollout
from penstock.registry import audit, signing, versions
from penstock.registry.audit import Actor
from penstock.registry.card import Card, final_card, model_card
from penstock.registry.pack_records import OWNER
from penstock.registry.spec import CardSpec
from penstock.registry.versions import Version, answers

if TYPE_CHECKING:
    from mlflow import MlflowClient

SBOM = "PENSTOCK_SBOM"
"""Environment variable: where the bill of materials of the image that this runs in is kept."""

RECORDED = "rollout recorded"


@dataclass(frozen=True)
class Grounds:
    """What a decision rests on besides the evaluation, and what else is kept with the version.

    Attributes:
        policy: What was to hold; None: not handed over, and the gate is not run again.
        operations: What was measured in the server; must be there if the decision names it.
        validation: What the expectations found in the data.
        explanation: What the model's answers rest on.
        baseline: How the model scored the holdout, for the monitor.
        split: What was proved of the split.
        train: The training part's record.
        image: The image that this runs in, empty outside of one; None: the decision's is not
            compared.
        card: What the owner says of the model; None: no model card is written.
        requested_by: Who started the run.
    """

    policy: Policy | None = None
    operations: Operations | None = None
    validation: Validation | None = None
    explanation: Explanation | None = None
    baseline: Baseline | None = None
    split: Split | None = None
    train: Dataset | None = None
    image: str | None = None
    card: CardSpec | None = None
    requested_by: str = ""


def grounds_of(
    records: Mapping[str, Path],
    *,
    policy: Mapping[str, Any],
    card: Mapping[str, Any],
    image: str,
    requested_by: str,
) -> Grounds:
    """Return the grounds of a decision from files, as a step is handed them.

    Args:
        records: Files by the name of a field: operations, validation, explanation, baseline, split,
            train.
        policy: Fields of the policy.
        card: Fields of the section `card`.
        image: The image that this runs in; empty outside of one.
        requested_by: Who started the run.

    Raises:
        InputError: If a file or the policy cannot be read.
        IntegrityError: If a file holds a record of another kind.
    """
    kinds: dict[str, type[Record]] = {
        "operations": Operations,
        "validation": Validation,
        "explanation": Explanation,
        "baseline": Baseline,
        "split": Split,
        "train": Dataset,
    }
    read: dict[str, Any] = {field: kinds[field].read(path) for field, path in records.items()}
    return Grounds(
        policy=Policy.parse(policy, where="gate"),
        card=CardSpec.parse(card, where="card"),
        image=image,
        requested_by=requested_by,
        **read,
    )


def write_pack(
    folder: Path,
    *,
    name: str,
    model: Model,
    decision: Decision,
    evaluation: Evaluation | None,
    holdout: Path | None,
    exported: Export | None,
    export_digest: str,
    grounds: Grounds,
    trained_by: str,
    reports: Sequence[Path] = (),
) -> Evidence:
    """Write the pack into a folder, `manifest.json` last, and return the manifest."""
    folder.mkdir(parents=True)
    records: dict[str, Record | None] = {
        "model": model,
        "decision": decision,
        "evaluation": evaluation,
        "operations": grounds.operations,
        "export": exported,
        "validation": grounds.validation,
        "explanation": grounds.explanation,
        "baseline": grounds.baseline,
        "split": grounds.split,
        "train": grounds.train,
        "holdout": Dataset.of(holdout) if holdout else None,
    }
    for title, record in records.items():
        if record is not None:
            record.write(folder / f"{title}.json")
    if grounds.policy is not None:
        _write_json(folder / "policy.json", grounds.policy.recorded())
    if grounds.card is not None:
        _write_json(folder / OWNER, grounds.card.model_dump(mode="json"))
        card = model_card(
            model,
            digest=decision.model,
            name=name,
            uri=f"models:/{name}, under the number that it gets once this is written",
            spec=grounds.card,
            training=grounds.train,
            holdout=Dataset.of(holdout) if holdout else None,
            split=grounds.split,
            validation=grounds.validation,
            evaluation=evaluation,
            decision=decision,
            explanation=grounds.explanation,
            operations=grounds.operations,
        )
        _write_card(folder, card)
    for report in reports:
        _copy(report, folder / report.name)
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    image = decision.image or grounds.image or ""
    manifest = Evidence(
        name=name,
        model=decision.model,
        export=export_digest,
        dataset=model.dataset,
        holdout=decision.dataset,
        decision=decision.digest(),
        commit=model.commit,
        code=penstock.__version__,
        image=image,
        sbom=os.environ.get(SBOM, ""),
        trained_by=trained_by,
        notes=_notes(kept, image=image),
        files={each: files.digest_of_file(folder / each) for each in sorted(kept)},
    )
    manifest.write(folder / MANIFEST)
    return manifest


def keep_pack(store: MlflowClient, run: str, pack: Path, *, decision: str) -> None:
    """Log a pack to a run, and the signature beside it where a key is configured."""
    with TemporaryDirectory() as place:
        signature = Path(place) / f"{Path(folder_of(decision)).name}.sig"
        if signing.sign(pack, output=signature):
            store.log_artifact(run, str(signature), FOLDER)
        store.log_artifacts(run, str(pack), folder_of(decision))


def fetch_pack(
    version: Version, *, tracking_uri: str, into: Path
) -> tuple[Path | None, Path | None]:
    """Download a version's pack.

    Returns:
        Its folder and the signature on it, each None where there is none.

    Raises:
        ServiceError: If the registry or its artifact store does not answer.
    """
    store = tracking.client(tracking_uri)
    place = folder_of(version.tags.get(versions.DECISION_DIGEST, ""))
    with answers(tracking_uri):
        there = {item.path for item in store.list_artifacts(version.run, FOLDER)}
        got = [
            Path(store.download_artifacts(version.run, path, str(into))) if path in there else None
            for path in (place, f"{place}.sig")
        ]
    return got[0], got[1]


def keep_rollout(
    rollout: Rollout, *, tracking_uri: str, others: Mapping[str, Path] = {}
) -> RolloutEvidence | None:
    """Keep a rollout's record with its version, and write its digest into the log.

    Args:
        rollout: A rollout that has ended.
        tracking_uri: The MLflow store.
        others: Further files by the name to keep them under, for example the timeline.

    Returns:
        What was kept; None if it was kept before.

    Raises:
        ServiceError: If MLflow does not take it.
    """
    version = versions.registered(rollout.uri, tracking_uri=tracking_uri)
    store = tracking.client(tracking_uri)
    with answers(tracking_uri), TemporaryDirectory() as place:
        folder = Path(place)
        rollout.write(folder / "rollout.json")
        for title, path in others.items():
            if path.exists():
                shutil.copy(path, folder / title)
        model_tags = store.get_registered_model(version.name).tags
        if rollout.outcome == "promoted":
            _keep_final_card(version, model_tags, tracking_uri=tracking_uri, into=folder)
        manifest = RolloutEvidence(
            uri=rollout.uri,
            model=rollout.model,
            decision=rollout.decision,
            identity=rollout.identity,
            outcome=rollout.outcome or "",
            files={path.name: files.digest_of_file(path) for path in sorted(folder.iterdir())},
        )
        log = audit.read(model_tags)
        if any(
            entry.event == RECORDED and entry.facts.get("identity") == rollout.identity
            for entry in log.of(rollout.uri)
        ):
            return None
        manifest.write(folder / MANIFEST)
        store.log_artifacts(version.run, place, rollout_folder(rollout.identity, rollout.decision))
        audit.record(
            store,
            version.name,
            event=RECORDED,
            uri=rollout.uri,
            actor=Actor(
                name=audit.EXPERIMENT if rollout.purpose == "experiment" else audit.CANARY,
                reason=rollout.reason,
                digests={"rollout": manifest.digest()},
            ),
            facts={"identity": rollout.identity, "outcome": rollout.outcome},
        )
    return manifest


def rollout_folder(identity: str, decision: str) -> str:
    """Return where a run keeps the record of a rollout: beside the pack, which stays as it was."""
    return f"{folder_of(decision)}.rollouts/{identity}"


def _keep_final_card(
    version: Version, model_tags: Mapping[str, str], *, tracking_uri: str, into: Path
) -> None:
    with TemporaryDirectory() as place:
        pack, _ = fetch_pack(version, tracking_uri=tracking_uri, into=Path(place))
        card = final_card(pack, version=version, model_tags=model_tags) if pack else None
    if card is not None:
        _write_card(into, card)


def _write_card(folder: Path, card: Card) -> None:
    files.write_text(folder / "card.html", card.html)
    files.write_text(folder / "card.md", card.markdown)


def _write_json(path: Path, fields: Mapping[str, Any]) -> None:
    text = json.dumps(fields, indent=2, ensure_ascii=False)
    files.write_text(path, text + "\n")


def _copy(report: Path, target: Path) -> None:
    if target.exists():
        raise InputError("a file of this name is in the evidence already", where=str(report))
    if report.is_dir():
        shutil.copytree(report, target)
    else:
        shutil.copy(report, target)


_EXPECTED = {
    "policy.json": "the policy",
    "evaluation.json": "the evaluation",
    "holdout.json": "the holdout's record",
    "train.json": "the training part's record",
    "split.json": "the proof of the split",
    "validation.json": "what the expectations found",
    "explanation.json": "the explanation",
    "baseline.json": "the baseline that the monitor compares with",
    "operations.json": "what was measured in the server",
    "card.html": "the model card",
}


def _notes(kept: set[str], *, image: str) -> tuple[str, ...]:
    missing = [words for name, words in _EXPECTED.items() if name not in kept]
    notes = [f"Not handed over when it was registered: {', '.join(missing)}."] if missing else []
    if not image:
        notes.append(
            "It ran in no image, so there is no bill of materials: penstock.json in the model's "
            "folder names the libraries."
        )
    elif not os.environ.get(SBOM):
        notes.append(
            f"No bill of materials of the image is named ({SBOM}): make images-sbom writes it."
        )
    return tuple(notes)
