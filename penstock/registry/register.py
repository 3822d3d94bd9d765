"""Register a model with its decision: the only way into the registry."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from penstock import files, progress, tracking
from penstock.errors import InputError, IntegrityError
from penstock.export.export import export
from penstock.model import digest_of
from penstock.records.dataset import FILE_NAME as DATASET_FILE
from penstock.records.dataset import Dataset
from penstock.records.decision import Decision
from penstock.records.evaluation import Evaluation
from penstock.records.export import FOLDER, Export
from penstock.records.model import FILE_NAME, Model
from penstock.records.release import Registration
from penstock.registry import versions
from penstock.registry.versions import Version, answers

if TYPE_CHECKING:
    from mlflow import MlflowClient

EVIDENCE = "evidence"
"""Folder of the run's artifacts that holds the decision, the evaluation and the reports."""


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
) -> Registration:
    """Register a model that a decision approves, and give it the alias `challenger`.

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

    Raises:
        NotApprovedError: If the decision does not approve the folder as it is now.
        IntegrityError: If `evaluation` or `holdout` is not the one that the decision was made on.
        InputError: If the folder, its record, the holdout or a report cannot be read.
        ServiceError: If MLflow does not answer.
    """
    digest = digest_of(model)
    decision.require_approval_of(digest)
    if evaluation is not None and decision.evaluation != evaluation.digest():
        raise IntegrityError(
            f"the decision was made on evaluation {decision.evaluation}, "
            f"not on this one ({evaluation.digest()})",
            where="evaluation",
            remedy="Hand over the evaluation that the decide step was given.",
        )
    if holdout is not None:
        _check_holdout(holdout, decision)
    record = Model.read(model / FILE_NAME)
    for report in reports:
        if not report.exists():
            raise InputError("the report does not exist", where=str(report))
    tags = _tags(record, digest=digest, decision=decision, lineage=lineage)
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        version = _existing(store, name, tags)
    if version is None:
        with _prepared(model, holdout) as (folder, exported), answers(tracking_uri):
            tags |= _export_tags(folder, exported)
            run = _run(store, record, name)
            _log_evidence(store, run, decision, evaluation, exported, reports)
            version = _create(store, folder, record, name=name, run=run, tags=tags)
    with answers(tracking_uri):
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


def _check_holdout(holdout: Path, decision: Decision) -> None:
    found = Dataset.read(holdout / DATASET_FILE).content
    if found != decision.dataset:
        raise IntegrityError(
            f"the decision was made on dataset {decision.dataset}, not on this one ({found})",
            where=str(holdout),
            remedy="Hand over the holdout that the evaluate step was given.",
        )


@contextlib.contextmanager
def _prepared(model: Path, holdout: Path | None) -> Iterator[tuple[Path, Export | None]]:
    """Yield a copy of what was approved, with the ONNX form in it where there is one."""

    def unapproved(folder: str, names: list[str]) -> list[str]:
        # The digest leaves it out, so nobody has approved what is in it.
        return [FOLDER] if Path(folder) == model and FOLDER in names else []

    with TemporaryDirectory() as place:
        copy = Path(place) / "model"
        shutil.copytree(model, copy, ignore=unapproved)
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
        versions.EXPORT_DIGEST: files.digest_of_folder(folder / FOLDER),
        versions.EXPORT_MAX_DIFFERENCE: f"{exported.max_difference:.3g}",
    }


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
        "dataset": record.dataset,
        "holdout": decision.dataset,
        "task": record.task,
        "target": record.target,
        "estimator": record.name,
        "commit": record.commit,
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
    wanted = {key: tags[key] for key in (versions.MODEL_DIGEST, versions.DECISION_DIGEST)}
    token = None
    while True:
        page = store.search_model_versions(
            f"name = '{name}'", order_by=["version_number DESC"], page_token=token
        )
        for found in page:
            if wanted.items() <= dict(found.tags).items():
                return versions.as_version(found)
        token = page.token
        if not token:
            return None


def _run(store: MlflowClient, record: Model, name: str) -> str:
    """Return the run that trained the model, if this store knows it, else a run for the version."""
    from mlflow.exceptions import MlflowException

    if record.mlflow_run:
        try:
            return str(store.get_run(record.mlflow_run).info.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    experiment = tracking.experiment_id(store, name)
    run = store.create_run(experiment, run_name=f"register {name}")
    store.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _log_evidence(
    store: MlflowClient,
    run: str,
    decision: Decision,
    evaluation: Evaluation | None,
    exported: Export | None,
    reports: Sequence[Path],
) -> None:
    with TemporaryDirectory() as place:
        records = {"decision": decision, "evaluation": evaluation, "export": exported}
        for title, record in records.items():
            if record is not None:
                record.write(Path(place) / f"{title}.json")
        store.log_artifacts(run, place, EVIDENCE)
    for report in reports:
        if report.is_dir():
            store.log_artifacts(run, str(report), f"{EVIDENCE}/{report.name}")
        else:
            store.log_artifact(run, str(report), EVIDENCE)
    scores = evaluation.scores_of("candidate") if evaluation else None
    for metric, estimate in (scores.metrics if scores else {}).items():
        store.log_metric(run, f"holdout_{metric}", estimate.value)
        store.log_metric(run, f"holdout_{metric}_low", estimate.low)
        store.log_metric(run, f"holdout_{metric}_high", estimate.high)


def _create(
    store: MlflowClient,
    model: Path,
    record: Model,
    *,
    name: str,
    run: str,
    tags: Mapping[str, str],
) -> Version:
    from mlflow.exceptions import MlflowException

    try:
        store.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    logged = store.create_logged_model(
        store.get_run(run).info.experiment_id,
        name=name,
        source_run_id=run,
        tags=dict(tags),
        params={key: str(value) for key, value in record.parameters.items()},
        model_type=record.name,
    )
    try:
        store.log_model_artifacts(logged.model_id, str(model))
        store.finalize_logged_model(logged.model_id, "READY")
        created = store.create_model_version(
            name,
            source=f"models:/{logged.model_id}",
            run_id=run,
            tags=dict(tags),
            model_id=logged.model_id,
        )
    except BaseException:
        # Only tidies up; what went wrong is raised.
        with contextlib.suppress(Exception):
            store.delete_logged_model(logged.model_id)
        raise
    return versions.as_version(created)


def _mark_challenger(store: MlflowClient, version: Version) -> None:
    """Give the version the alias, unless it has gone on to be the champion."""
    if versions.aliases(store, version.name).get(versions.CHAMPION) != version.version:
        store.set_registered_model_alias(version.name, versions.CHALLENGER, str(version.version))
