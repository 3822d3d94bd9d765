"""Register a model with its decision: the only way into the registry."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from penstock import tracking
from penstock.common import progress
from penstock.errors import InputError
from penstock.export.export import export
from penstock.gate.evaluation import Evaluation
from penstock.model import copy_without_export, digest_of, export_digest_of
from penstock.records.dataset import FILE_NAME as DATASET_NAME
from penstock.records.dataset import Dataset, Split
from penstock.records.decision import Decision
from penstock.records.export import FOLDER, Export
from penstock.records.health import SPLIT_NAME
from penstock.records.model import FILE_NAME, Model
from penstock.records.release import Registration
from penstock.registry import audit, binding, logged, signing, versions
from penstock.registry.audit import Actor
from penstock.registry.champion import checked_champion
from penstock.registry.evidence import Grounds, keep_pack, write_pack
from penstock.registry.versions import Version, answers

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register(
    model: Path,
    *,
    decision: Decision,
    evaluation: Evaluation | None,
    name: str,
    tracking_uri: str,
    holdout: Path | None = None,
    lineage: Mapping[str, str] = {},
    reports: Sequence[Path] = (),
    grounds: Grounds = Grounds(),
) -> Registration:
    """Register a model that a decision approves, and give it the alias `challenger`.

    Whatever the decision rests on that is handed over is checked against the digest in the
    decision, and kept with the version as its evidence.

    With a holdout the model's ONNX form is made too, and kept in the version's folder below
    `serving/` if it is proven to answer as the model does; otherwise a tag says why there is none.
    It is made here, after the decision, from the very folder that was decided on.

    Registering the same model with the same decision again returns the version that there is.
    The alias moves last: a version that was left half-way carries none.

    Args:
        model: The model's folder.
        decision: What approves this very folder, by digest.
        evaluation: What the decision was made on; its metrics go to the run. None leaves them out.
        name: The registered model.
        tracking_uri: The MLflow store.
        holdout: The dataset that the decision was made on. None: no ONNX form is made.
        lineage: Further tags by name, for example `image` and `pipeline_run`; each becomes
            `penstock.<name>` on the version.
        reports: Files or folders to keep beside the decision as evidence.
        grounds: What else the decision rests on. With the policy the gate is run again.

    Raises:
        NotApprovedError: If the decision does not approve the folder as it is now.
        IntegrityError: If anything handed over is not what the decision was made on, naming the
            field, or the champion is not the one that it compared with any more.
        InputError: If the folder, its record, the holdout or a report cannot be read.
        ServiceError: If MLflow does not answer.
    """
    digest = digest_of(model)
    decision.require_approval_of(digest)
    record = Model.read(model / FILE_NAME)
    _require_bound(decision, model=record, evaluation=evaluation, holdout=holdout, grounds=grounds)
    for report in reports:
        if not report.exists():
            raise InputError("the report does not exist", where=str(report))
    tags = _tags(record, digest=digest, decision=decision, lineage=lineage)
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        version = _existing(store, name, tags)
    if version is None:
        champion = checked_champion(name, tracking_uri=tracking_uri)
        binding.require_champion(decision, champion=champion, name=name)
        if champion.note:
            progress.say(champion.note)
        version = _new_version(
            store,
            model,
            record=record,
            decision=decision,
            evaluation=evaluation,
            name=name,
            holdout=holdout,
            tags=tags,
            reports=reports,
            grounds=grounds,
        )
    with answers(tracking_uri):
        _record(store, version, by=grounds.requested_by)
        _mark_challenger(store, version)
    progress.say(f"{version.uri}, alias {versions.CHALLENGER}; {_served(version)}")
    return Registration(
        name=name,
        version=version.version,
        uri=version.uri,
        model=digest,
        decision=decision.digest(),
        dataset=record.dataset,
        mlflow_run=version.run,
        export=version.export,
    )


def _require_bound(
    decision: Decision,
    *,
    model: Model,
    evaluation: Evaluation | None,
    holdout: Path | None,
    grounds: Grounds,
) -> None:
    """Return only if the decision was made on everything that is handed over with it."""
    binding.require_bound(
        decision,
        model=model,
        evaluation=evaluation,
        operations=grounds.operations,
        policy=grounds.policy,
        image=grounds.image,
    )
    if holdout is not None:
        binding.require_holdout(decision, holdout)
    if grounds.explanation is not None:
        binding.require_explanation(decision, grounds.explanation)
    if grounds.baseline is not None:
        binding.require_baseline(evaluation, grounds.baseline)
    if grounds.split is not None:
        binding.require_split(decision, model=model, split=grounds.split)


def _new_version(
    store: MlflowClient,
    model: Path,
    *,
    record: Model,
    decision: Decision,
    evaluation: Evaluation | None,
    name: str,
    holdout: Path | None,
    tags: dict[str, str],
    reports: Sequence[Path],
    grounds: Grounds,
) -> Version:
    """Export the model, keep the evidence in its run, and create the version with its tags."""
    grounds = _with_carried(model, grounds)
    with _prepared(model, holdout) as (folder, exported), answers(store.tracking_uri):
        tags = tags | _export_tags(folder, exported) | _reference_tag(grounds.train)
        policy = grounds.policy.recorded() if grounds.policy else None
        key = signing.sign_model(folder, decision=decision, policy=policy, name=name)
        tags |= {versions.SIGNED_BY: key} if key else {}
        run, trained_by = _run(store, record, name, requested_by=grounds.requested_by)
        with TemporaryDirectory() as place:
            pack = Path(place) / "pack"
            manifest = write_pack(
                pack,
                name=name,
                model=record,
                decision=decision,
                evaluation=evaluation,
                holdout=holdout,
                exported=exported,
                export_digest=tags.get(versions.EXPORT_DIGEST, ""),
                grounds=grounds,
                trained_by=trained_by,
                reports=reports,
            )
            keep_pack(store, run, pack, decision=decision.digest())
        tags[versions.EVIDENCE_DIGEST] = manifest.digest()
        if trained_by:
            tags[versions.TRAINED_BY] = trained_by
        judged = Dataset.of(holdout) if holdout else None
        logged.log_datasets(store, run, name=name, training=grounds.train, holdout=judged)
        with _logged_model(store, folder, record, name=name, run=run, tags=tags) as model_id:
            logged.log_metrics(
                store, run, model_id=model_id, evaluation=evaluation, name=name, holdout=judged
            )
            return _create(store, name=name, model_id=model_id, run=run, tags=tags)


def _record(store: MlflowClient, version: Version, *, by: str) -> None:
    """Record the registration in the log, unless it is there: a step may be run again."""
    log = audit.read(store.get_registered_model(version.name).tags)
    if any(entry.event == audit.REGISTERED for entry in log.of(version.uri)):
        return
    actor = Actor(
        name=by or audit.GATE,
        means=audit.REQUESTER if by else "",
        reason="The gate approved it.",
        digests={kind: version.tags.get(tag, "") for kind, tag in versions.REGISTERED_TAGS.items()},
    )
    audit.record(
        store, version.name, event=audit.REGISTERED, uri=version.uri, actor=actor, there=log
    )


def _with_carried(model: Path, grounds: Grounds) -> Grounds:
    """Return the grounds, with the records of the training part that the model's folder carries."""
    carried: dict[str, Any] = {}
    if grounds.train is None and (model / DATASET_NAME).is_file():
        carried["train"] = Dataset.read(model / DATASET_NAME)
    if grounds.split is None and (model / SPLIT_NAME).is_file():
        carried["split"] = Split.read(model / SPLIT_NAME)
    return replace(grounds, **carried)


@contextlib.contextmanager
def _prepared(model: Path, holdout: Path | None) -> Iterator[tuple[Path, Export | None]]:
    """Yield a copy of what was approved, with the ONNX form in it where there is one."""
    with TemporaryDirectory() as place:
        copy = Path(place) / "model"
        copy_without_export(model, copy)
        if holdout is None:
            yield copy, None
        else:
            yield copy, export(copy, holdout=holdout, output=copy / FOLDER)


def _export_tags(folder: Path, exported: Export | None) -> dict[str, str]:
    if exported is None:
        return {versions.EXPORT_REASON: "no holdout was given to check it on"}
    if not exported.file:
        return {versions.EXPORT_REASON: exported.reason}
    return {
        versions.EXPORT_DIGEST: export_digest_of(folder),
        versions.EXPORT_MAX_DIFFERENCE: f"{exported.max_difference:.3g}",
    }


def _reference_tag(training: Dataset | None) -> dict[str, str]:
    reference = training.origin.reference if training and training.origin else None
    if reference is None:
        return {}
    return {versions.DATA_REFERENCE: json.dumps(reference.named, ensure_ascii=False)}


def _served(version: Version) -> str:
    if version.export:
        figure = version.tags[versions.EXPORT_MAX_DIFFERENCE]
        return f"served as ONNX, which differs from scikit-learn by {figure} at most"
    return f"served by scikit-learn: {version.tags.get(versions.EXPORT_REASON, 'no ONNX form')}"


def _tags(
    record: Model, *, digest: str, decision: Decision, lineage: Mapping[str, str]
) -> dict[str, str]:
    known = {
        "model_digest": digest,
        "decision_digest": decision.digest(),
        "dataset": record.dataset_version,
        **({"training_part": record.dataset} if record.table else {}),
        "holdout": decision.dataset,
        "task": record.task,
        "target": record.target,
        "estimator": record.name,
        "commit": record.commit,
        "code": "" if record.code is None else record.code.digest,
        "threshold": "" if record.threshold is None else repr(record.threshold),
    }
    fixed = known.keys() - {"commit"}
    for key in lineage:
        if key in fixed or not re.fullmatch(r"[a-z][a-z0-9_]*", key):
            raise InputError(
                f"{key!r} cannot be a lineage tag",
                where="lineage",
                remedy="Use lower case words such as image, commit or pipeline_run.",
            )
    given = {key: value for key, value in (known | dict(lineage)).items() if value}
    return {f"penstock.{key}": value for key, value in given.items()}


def _existing(store: MlflowClient, name: str, tags: Mapping[str, str]) -> Version | None:
    """Return the version of the same model and decision. Tags come with a version, at once."""
    expected = {key: tags[key] for key in (versions.MODEL_DIGEST, versions.DECISION_DIGEST)}
    found = versions.newest_first(store, name)
    return next((one for one in found if expected.items() <= one.tags.items()), None)


def _run(store: MlflowClient, record: Model, name: str, *, requested_by: str) -> tuple[str, str]:
    """Return the run that trained the model, if this store knows it, else one for the version.

    Who trained comes with it: who requested the run, else the user that MLflow noted.
    """
    from mlflow.exceptions import MlflowException

    if record.mlflow_run:
        try:
            found = store.get_run(record.mlflow_run)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        else:
            user = found.data.tags.get("mlflow.user", "")
            return str(found.info.run_id), requested_by or user
    experiment = tracking.experiment_id(store, name)
    run = store.create_run(experiment, run_name=f"register {name}")
    store.set_terminated(run.info.run_id)
    return str(run.info.run_id), requested_by


@contextlib.contextmanager
def _logged_model(
    store: MlflowClient,
    model: Path,
    record: Model,
    *,
    name: str,
    run: str,
    tags: Mapping[str, str],
) -> Iterator[str]:
    """Yield the id of MLflow's logged model, which is deleted if the block raises."""
    made = store.create_logged_model(
        store.get_run(run).info.experiment_id,
        name=name,
        source_run_id=run,
        tags=dict(tags),
        params={key: str(value) for key, value in record.parameters.items()},
        model_type=record.name,
    )
    try:
        store.log_model_artifacts(made.model_id, str(model))
        store.finalize_logged_model(made.model_id, "READY")
        yield str(made.model_id)
    except BaseException:
        # Only tidies up; what went wrong is raised.
        with contextlib.suppress(Exception):
            store.delete_logged_model(made.model_id)
        raise


def _create(
    store: MlflowClient, *, name: str, model_id: str, run: str, tags: Mapping[str, str]
) -> Version:
    from mlflow.exceptions import MlflowException

    try:
        store.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = store.create_model_version(
        name, source=f"models:/{model_id}", run_id=run, tags=dict(tags), model_id=model_id
    )
    return versions.as_version(created)


def _mark_challenger(store: MlflowClient, version: Version) -> None:
    """Give the version the alias, unless it has gone on to be the champion."""
    if versions.aliases(store, version.name).get(versions.CHAMPION) != version.version:
        store.set_registered_model_alias(version.name, versions.CHALLENGER, str(version.version))
