"""Registered versions: their tags and aliases, and their files, checked."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock import model, tracking
from penstock.common import files, mlflow_access
from penstock.errors import InputError, IntegrityError, PenstockError, ServiceError
from penstock.registry import audit, registration

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
"""Alias of the version that was champion before: what a rollback goes back to."""

ROLLED_BACK = "penstock.rolled_back"
"""Tag of a version that was rolled back: why."""

MODEL_DIGEST = "penstock.model_digest"
EXPORT_DIGEST = "penstock.export_digest"
DECISION_DIGEST = "penstock.decision_digest"
DATASET = "penstock.dataset"
"""Tag of the dataset version: the content digest of the table that was ingested."""

TRAINING_PART = "penstock.training_part"
"""Tag of the training part's digest. Absent where an older release trained the model: there
`penstock.dataset` is that."""

DATA_REFERENCE = "penstock.data_reference"
"""Tag of the version of the source that was read, where it keeps versions: JSON with `kind`,
`locator` and `resolved`."""

EXPORT_MAX_DIFFERENCE = "penstock.export_max_difference"
EXPORT_REASON = "penstock.export_reason"
EVIDENCE_DIGEST = "penstock.evidence_digest"
TRAINED_BY = "penstock.trained_by"
SIGNED_BY = "penstock.signed_by"
"""Tag of the id of the key that signed the version's files last. Nothing is decided by it."""

APPROVALS_SIGNED_BY = "penstock.approvals_signed_by"
"""Tag of the id of the key that signed people's approvals last. Nothing is decided by it."""

APPROVAL = "penstock.approval."
"""Prefix of the tags that hold approvals and rejections of a version."""

REGISTERED_TAGS = {
    "model": MODEL_DIGEST,
    "export": EXPORT_DIGEST,
    "decision": DECISION_DIGEST,
    "evidence": EVIDENCE_DIGEST,
}
"""Tags whose values the log's entry `registered` holds too, by their kind in the entry."""

_FIXED = frozenset({*REGISTERED_TAGS.values(), DATASET, TRAINING_PART, DATA_REFERENCE, TRAINED_BY})
# What MLflow's stores take.
_TAG_LENGTH = 5000

# MLflow writes this beside a model that is downloaded by name; it is not part of the model.
_ADDED_BY_MLFLOW = "registered_model_meta"

_URI = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>\d+)|@(?P<alias>[^/@]+))")


@dataclass(frozen=True)
class Version:
    """One version of a registered model.

    Attributes:
        name: The registered model.
        version: Its number.
        uri: `models:/name/version`.
        model: Digest of its folder, as it was registered.
        dataset: The dataset version: content digest of the table that was ingested. Of a version
            that an older release registered: the training part's.
        training_part: Content digest of the training part.
        run: The MLflow run it belongs to.
        tags: All its tags.
        export: Digest of the folder `serving/` in it, its ONNX form; empty: it has none.
    """

    name: str
    version: int
    uri: str
    model: str
    dataset: str
    training_part: str
    run: str
    tags: Mapping[str, str]
    export: str = ""


def champion(name: str, *, tracking_uri: str) -> Version | None:
    """Return the version that carries the alias `champion`; None when there is none yet.

    The alias is not checked against the audit log: `champion.checked_champion` does that.

    Raises:
        ServiceError: If the registry does not answer: that does not mean that there is no champion.
        IntegrityError: If the champion was not registered by Penstock.
    """
    return by_alias(name, CHAMPION, tracking_uri=tracking_uri)


def by_alias(name: str, alias: str, *, tracking_uri: str) -> Version | None:
    """Return the version that carries `alias`, or None if the model or the alias is not there."""
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        number = aliases(store, name).get(alias)
        return None if number is None else version_of(store, name, number)


def registered(uri: str, *, tracking_uri: str) -> Version:
    """Return the version that `models:/name/3` or `models:/name@alias` names.

    Raises:
        InputError: If `uri` is of another form, or names nothing.
        IntegrityError: If the version was not registered by Penstock.
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        return _resolve(store, uri)


def tag(name: str, version: int, tags: Mapping[str, str], *, tracking_uri: str) -> None:
    """Set tags on a version, over any of the same names.

    Args:
        name: The registered model.
        version: Its number.
        tags: Values by name, for example `penstock.rolled_back`.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If a tag is one of those by which a version's files are checked.
        ServiceError: If the registry does not answer, or has no such version.
    """
    for key in tags.keys() & _FIXED:
        raise InputError(
            f"the tag {key} is set when a version is registered, and stays",
            where=f"models:/{name}/{version}",
        )
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        for key, value in tags.items():
            store.set_model_version_tag(name, str(version), key, value[:_TAG_LENGTH])


def fetch(uri: str, *, tracking_uri: str, destination: Path) -> Path:
    """Download a version's folder and check that it is the one that was registered.

    Args:
        uri: `models:/name/3` or `models:/name@alias`.
        tracking_uri: The MLflow store.
        destination: The folder to make; it must not hold anything yet.

    Returns:
        `destination`.

    Raises:
        InputError: If `uri` is of another form, or names nothing.
        IntegrityError: If the version has no digest, its tags are not what the log says it was
            registered with, or the model or its ONNX form that was downloaded has another digest;
            nothing is left at `destination`.
        ServiceError: If the registry or its artifact store does not answer.
    """
    version = registered(uri, tracking_uri=tracking_uri)
    require_as_registered(version, tracking_uri=tracking_uri)
    store = tracking.client(tracking_uri)
    with files.whole_folder(destination) as folder:
        with answers(tracking_uri):
            download(version.uri, folder, tracking_uri=store.tracking_uri)
        _check(folder, version)
    return destination


def require_as_registered(version: Version, *, tracking_uri: str) -> None:
    """Return only if a version's tags are what the audit log says it was registered with.

    Whoever edits files and tags together does not make them another version.

    Args:
        version: The version, with the tags as they are now.
        tracking_uri: The MLflow store.

    Raises:
        IntegrityError: Naming the tag that differs, or that its registration is not in the log.
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        log = audit.read(store.get_registered_model(version.name).tags)
        registration.require_registered(store, log, version, tags=REGISTERED_TAGS)


def artifacts_of(name: str, version: int, *, tracking_uri: str) -> str:
    """Return the address of a version's folder, as the artifact store has it.

    Raises:
        ServiceError: If the registry does not answer, or has no such version.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        return str(store.get_model_version_download_uri(name, str(version)))


def _check(folder: Path, version: Version) -> None:
    found = {
        "ONNX form": (model.export_digest_of(folder), version.export),
        "files": (model.digest_of(folder), version.model),
    }
    for what, (digest, expected) in found.items():
        if digest != expected:
            raise IntegrityError(
                f"the digest of its {what} is {digest or 'none'}, "
                f"but {expected or 'none'} was registered",
                where=version.uri,
                remedy="The artifact was changed after it was registered: release again.",
            )


def aliases(store: MlflowClient, name: str) -> dict[str, int]:
    """Return the aliases of a registered model; empty when the model does not exist."""
    found = registered_model(store, name)
    return {} if found is None else {alias: int(n) for alias, n in found.aliases.items()}


def registered_model(store: MlflowClient, name: str) -> Any | None:
    """Return MLflow's registered model with its aliases and tags; None when it does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return store.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST" or _unseen(store, name, error):
            return None
        raise


def _unseen(store: MlflowClient, name: str, error: MlflowException) -> bool:
    """Return whether a server with users forbids a name because there is no such model for ours.

    It denies access to a name that does not exist as to another user's model; a list shows neither.
    Nothing can be registered into another user's model, so this cannot hide a first version.
    """
    if error.error_code != "PERMISSION_DENIED":
        return False
    return not store.search_registered_models(f"name = '{name}'")


def download(uri: str, folder: Path, *, tracking_uri: str) -> None:
    """Download a version's folder as it is, unchecked: what is wrong with it is yet to be seen."""
    from mlflow.artifacts import download_artifacts

    got = Path(
        download_artifacts(
            artifact_uri=uri,
            dst_path=str(folder),
            tracking_uri=tracking_uri,
            registry_uri=tracking_uri,
        )
    )
    if got.resolve() != folder.resolve():
        for path in got.iterdir():
            shutil.move(path, folder / path.name)
        got.rmdir()
    (folder / _ADDED_BY_MLFLOW).unlink(missing_ok=True)


@contextlib.contextmanager
def answers(tracking_uri: str) -> Iterator[None]:
    """Turn what MLflow raises inside the block into a ServiceError that names the store."""
    try:
        yield
    except PenstockError:
        raise
    except Exception as error:  # Artifact stores raise the exceptions of their own libraries.
        uri = tracking.resolve_uri(tracking_uri)
        raise ServiceError(
            f"MLflow failed: {tracking.reason(error)}",
            where=uri,
            remedy=tracking.remedy_of(error)
            or "Check that the server and its artifact store are up, then run the step again.",
        ) from error


def version_of(store: MlflowClient, name: str, number: int) -> Version:
    """Return one version that is known to exist.

    Raises:
        IntegrityError: If it carries no digest of its folder.
    """
    return as_version(store.get_model_version(name, str(number)))


def newest_first(store: MlflowClient, name: str) -> Iterator[Version]:
    """Yield the versions of a registered model that Penstock registered, the newest first."""
    token = None
    while True:
        page = store.search_model_versions(
            f"name = '{name}'", order_by=["version_number DESC"], page_token=token
        )
        yield from (as_version(one) for one in page if MODEL_DIGEST in one.tags)
        token = page.token
        if not token:
            return


def as_version(found: Any) -> Version:
    """Return MLflow's model version as ours."""
    tags = dict(found.tags)
    uri = f"models:/{found.name}/{found.version}"
    if MODEL_DIGEST not in tags:
        raise IntegrityError(
            f"the version has no tag {MODEL_DIGEST}, so its files cannot be checked",
            where=uri,
            remedy="Register the model with Penstock.",
        )
    return Version(
        name=found.name,
        version=int(found.version),
        uri=uri,
        model=tags[MODEL_DIGEST],
        dataset=tags.get(DATASET, ""),
        training_part=tags.get(TRAINING_PART) or tags.get(DATASET, ""),
        run=found.run_id or "",
        tags=tags,
        export=tags.get(EXPORT_DIGEST, ""),
    )


def _resolve(store: MlflowClient, uri: str) -> Version:
    from mlflow.exceptions import MlflowException

    match = _URI.fullmatch(uri)
    if match is None:
        raise InputError(
            "not the address of a registered model",
            where=uri,
            remedy="Write models:/name/3 or models:/name@champion.",
        )
    name, alias = match["name"], match["alias"]
    number = aliases(store, name).get(alias) if alias else int(match["version"])
    if number is None:
        raise InputError(
            f"there is no model {name!r} with the alias {alias!r}",
            where=uri,
            remedy=mlflow_access.asked_in(),
        )
    try:
        return version_of(store, name, number)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise InputError(
                "there is no such version in the registry",
                where=uri,
                remedy=mlflow_access.asked_in(),
            ) from error
        raise
