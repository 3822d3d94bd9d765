"""Waiting for approvals of a version: cheap, with a deadline that a restart does not move."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from penstock import tracking
from penstock.common import files, mlflow_access, progress
from penstock.errors import IntegrityError, NotApprovedError, ServiceError
from penstock.gate.approval import ApprovalSpec, Judgement
from penstock.records.approval import ApprovalOutcome
from penstock.records.release import Registration
from penstock.registry import approvals, audit, versions
from penstock.registry.signing_people import sign_people

REQUESTED = "penstock.approval_asked."
"""Prefix of the tag that holds when a run first requested approval: its deadline starts there."""

TOLD = "penstock.approval_told."
"""Prefix of the tag that holds when people were notified of it: once for a run."""

_TIMEOUT = 30.0
_LONGEST = 60.0


class Tags(Protocol):
    """The tags of one version and of its registered model."""

    def read(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the version's tags and the registered model's."""
        ...

    def set(self, key: str, value: str) -> None:
        """Set a tag on the version."""
        ...


def wait(
    registration: Registration,
    *,
    spec: ApprovalSpec,
    tracking_uri: str,
    run: str,
    pause: float = 10.0,
    tell: Callable[[str], bool] = lambda _: True,
) -> ApprovalOutcome:
    """Wait until people have approved or rejected a version, or until the deadline.

    Args:
        registration: The version.
        spec: How many people must approve, and how long to wait. If none must, the registry is not
            read either.
        tracking_uri: The MLflow store. One that is reached by HTTP is read without MLflow's
            library, so that little memory is held while nothing happens.
        run: Names the pipeline run: the same run, started again, keeps its deadline.
        pause: Seconds before the second read; they grow to a minute.
        tell: Notifies people, once nobody has approved it yet: in sentences. Asked at each read
            until it returns True, and not again for the same run; a kill just after that is the
            exception.

    Raises:
        InputError: If a key to sign the approvals with is configured and cannot be used.
        IntegrityError: If the registry's version is not the registered one.
        ServiceError: If the registry does not respond at the start, or takes no signed approvals.
    """
    if spec.people == 0:
        return _outcome(registration, approved=True, sentence="The policy requires no approval.")
    registry = tags_of(registration.name, registration.version, tracking_uri=tracking_uri)
    requested = _requested(registry, registration, run=run)
    deadline = requested + timedelta(hours=spec.wait_hours)
    asks = (
        f"waiting until {deadline:%Y-%m-%d %H:%M} UTC for {spec.people} "
        f"{'approval' if spec.people == 1 else 'approvals'}: "
        f"penstock approve {registration.uri} --reason TEXT"
    )
    progress.say(asks)
    told = TOLD + _mark(registration, run)
    notified = told in registry.read()[0]
    while True:
        judged, given = _read(registry, registration, spec=spec)
        if judged is not None and (judged.approved or judged.rejected):
            sentence = judged.sentence
            break
        if datetime.now(UTC) >= deadline:
            why = judged.sentence if judged else "The registry did not respond."
            sentence = f"It was not approved by {deadline:%Y-%m-%d %H:%M} UTC. {why}"
            break
        if not notified and tell(f"version {registration.version} is {asks}"):
            notified = True
            _note_told(registry, told)
        left = (deadline - datetime.now(UTC)).total_seconds()
        time.sleep(max(0.0, min(pause, left)))
        pause = min(pause * 1.5, max(pause, _LONGEST))
    progress.say(sentence)
    if judged is not None and judged.approved:
        # Where keys are trusted, a server asks for it as it starts: before the release goes on.
        sign_people(registration.uri, spec=spec, tracking_uri=tracking_uri)
    return ApprovalOutcome(
        uri=registration.uri,
        model=registration.model,
        decision=registration.decision,
        approved=judged is not None and judged.approved,
        sentence=sentence,
        asked=requested,
        deadline=deadline,
        approvals=given,
    )


def tags_of(name: str, version: int, *, tracking_uri: str) -> Tags:
    """Return the tags of a version, by HTTP where the store is a server."""
    uri = tracking.resolve_uri(tracking_uri)
    if uri.startswith(("http://", "https://")):
        return _Served(uri, name, version)
    return _Embedded(uri, name, version)


def _mark(registration: Registration, run: str) -> str:
    """Return what names one run's request for one version in the registry's tags."""
    digest = files.digest_of_text("\n".join((registration.decision, run)))
    return digest.removeprefix("sha256:")[:8]


def _note_told(registry: Tags, key: str) -> None:
    """Keep that people were notified: a step that is tried again does not notify them again."""
    try:
        registry.set(key, datetime.now(UTC).isoformat())
    except ServiceError as error:
        progress.say(f"it could not be noted that people were notified: {error}")


def _requested(registry: Tags, registration: Registration, *, run: str) -> datetime:
    tags, _ = registry.read()
    found = (tags.get(versions.MODEL_DIGEST, ""), tags.get(versions.DECISION_DIGEST, ""))
    if found != (registration.model, registration.decision):
        raise IntegrityError(
            f"the registry names model {found[0]} and decision {found[1]}, but "
            f"{registration.model} and {registration.decision} were registered",
            where=registration.uri,
            remedy="Its tags were changed after it was registered: release again.",
        )
    key = REQUESTED + _mark(registration, run)
    if key not in tags:
        registry.set(key, datetime.now(UTC).isoformat())
        tags, _ = registry.read()
    try:
        requested = datetime.fromisoformat(tags[key])
    except ValueError:
        requested = None
    if requested is None or requested.tzinfo is None:
        raise IntegrityError(
            f"the tag {key} says {tags[key]!r:.80}, which is no time with its offset",
            where=registration.uri,
            remedy="It was changed since the approval was requested: delete it, and run again.",
        )
    return requested


def _read(
    registry: Tags, registration: Registration, *, spec: ApprovalSpec
) -> tuple[Judgement | None, tuple[Any, ...]]:
    """Return the verdict and the approvals; None while the registry does not respond."""
    try:
        tags, model_tags = registry.read()
    except ServiceError as error:
        progress.say(f"the registry does not respond, trying again: {error}")
        return None, ()
    try:
        judged = approvals.judge_tags(registration.uri, tags=tags, model_tags=model_tags, spec=spec)
        given = approvals.read(tags, log=audit.read(model_tags))
    except NotApprovedError as error:
        return Judgement(approved=False, rejected=True, sentence=str(error)), ()
    return judged, given


def _outcome(registration: Registration, *, approved: bool, sentence: str) -> ApprovalOutcome:
    return ApprovalOutcome(
        uri=registration.uri,
        model=registration.model,
        decision=registration.decision,
        approved=approved,
        sentence=sentence,
    )


class _Embedded:
    """A store in a file, by MLflow's library."""

    def __init__(self, uri: str, name: str, version: int) -> None:
        self._uri, self._name, self._version = uri, name, str(version)
        self._store = tracking.client(uri)

    def read(self) -> tuple[dict[str, str], dict[str, str]]:
        with versions.answers(self._uri):
            version = self._store.get_model_version(self._name, self._version)
            model = self._store.get_registered_model(self._name)
            return dict(version.tags), dict(model.tags)

    def set(self, key: str, value: str) -> None:
        with versions.answers(self._uri):
            self._store.set_model_version_tag(self._name, self._version, key, value)


class _Served:
    """A tracking server, by its REST API, with the settings that MLflow's own client takes."""

    def __init__(self, uri: str, name: str, version: int) -> None:
        import httpx

        self._uri, self._name, self._version = uri, name, str(version)
        insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true")
        authority = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH", "")
        self._http = httpx.Client(
            base_url=f"{uri.rstrip('/')}/api/2.0/mlflow/",
            auth=mlflow_access.signed,
            verify=False if insecure else _verification(authority),
            timeout=_TIMEOUT,
        )

    def read(self) -> tuple[dict[str, str], dict[str, str]]:
        name, version = {"name": self._name}, {"version": self._version}
        return (
            self._tags("model_version", "model-versions/get", name | version),
            self._tags("registered_model", "registered-models/get", name),
        )

    def set(self, key: str, value: str) -> None:
        body = {"name": self._name, "version": self._version, "key": key, "value": value}
        self._request("POST", "model-versions/set-tag", json=body)

    def _tags(self, kind: str, path: str, asked: dict[str, str]) -> dict[str, str]:
        found = self._request("GET", path, params=asked)
        try:
            return {tag["key"]: tag.get("value") or "" for tag in found[kind].get("tags") or ()}
        except (LookupError, TypeError, AttributeError) as error:
            raise ServiceError(
                f"what answers is not MLflow: it names no {kind}",
                where=self._uri,
                remedy="Correct the tracking URI, or what is between this and the server.",
            ) from error

    def _request(self, method: str, path: str, **given: Any) -> Any:
        import httpx

        try:
            response = self._http.request(method, path, **given)
            response.raise_for_status()
            return response.json()
        except httpx.HTTPStatusError as error:
            raise tracking.refusal(error, error.response, where=self._uri) from error
        except (httpx.HTTPError, ValueError) as error:
            raise ServiceError(
                f"MLflow does not respond: {tracking.reason(error)}",
                where=self._uri,
                remedy="Check that the server is up and this account may read the model.",
            ) from error


def _verification(authority: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=authority) if authority else True
