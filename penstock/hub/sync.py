"""Bring the Hub to what MLflow's registry has of a model: made where it is absent, else changed.

The registry is the source. Whatever a run could not write, because the Hub was away, the next one
writes with its own. Nothing is deleted, and what other people wrote there stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.common import progress
from penstock.errors import InputError, IntegrityError, PenstockError
from penstock.hub.entries import (
    NOT_TRUSTED,
    PASSING,
    URI,
    ModelEntry,
    VersionEntry,
    entry_of,
)
from penstock.hub.server import TAKEN, Hub, HubRefusedError
from penstock.notification import HubSpec, NotifySpec
from penstock.redaction import redact
from penstock.registry.versions import MODEL_DIGEST

_FORMAT = {"modelFormatName": "penstock", "modelFormatVersion": "1"}
"""What KServe calls the format that our serving runtime takes."""


@dataclass(frozen=True)
class Written:
    """What was brought up to date.

    Attributes:
        address: The Hub's.
        dialect: The version of its API.
        created: What was not there, as `models:/name/3` and the like.
        changed: What was there and said something else.
        versions: How many versions there are.
    """

    address: str
    dialect: str
    created: tuple[str, ...]
    changed: tuple[str, ...]
    versions: int


def sync(name: str, *, hub: HubSpec, tracking_uri: str) -> Written:
    """Write everything that MLflow's registry has of a model into the Hub.

    The same again changes nothing. One that was killed is made good by the next.

    Args:
        name: The registered model.
        hub: Where the Hub is.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.

    Raises:
        InputError: If no Hub is named, or the registry has no such model.
        IntegrityError: If the Hub has a version of the same name and number that is another model.
        ServiceError: If the Hub or the registry does not answer or refuses.
    """
    if not hub.address:
        raise InputError(
            "the project file names no Kubeflow Hub",
            where="notify.hub.address",
            remedy="Name its REST service there.",
        )
    entry = entry_of(name, tracking_uri=tracking_uri)
    if entry is None:
        raise InputError(f"no version of {name} has been registered yet", where=f"models:/{name}")
    with Hub(hub) as reached:
        return _Writer(reached, entry).write()


def tell_hub(name: str, *, notify: Mapping[str, Any], tracking_uri: str) -> str:
    """Write what the registry has of a model into the Hub, if one is named; never fail for it.

    What a release comes to does not depend on whom it is reported to.

    Args:
        name: The registered model.
        notify: Fields of the section `notify`.
        tracking_uri: The MLflow store.

    Returns:
        What kept it from being written, as a sentence; empty: it was written, or none is named.

    Raises:
        InputError: If the fields are not the section's.

    Example:
        >>> tell_hub("loans", notify={"file": "told.jsonl"}, tracking_uri="")
        ''
    """
    hub = NotifySpec.parse(dict(notify), where="notify").hub
    if not hub.address:
        return ""
    try:
        written = sync(name, hub=hub, tracking_uri=tracking_uri)
    except Exception as error:  # Whatever a server answers, the release is what it is.
        why = error if isinstance(error, PenstockError) else f"{type(error).__name__}: {error}"
        problem = redact(
            f"Kubeflow Hub was not told of {name}; the next run does it, or: penstock hub sync. "
            f"{why}"
        )
        progress.log(problem)
        return problem
    progress.log(f"Kubeflow Hub at {written.address} has {written.versions} versions of {name}.")
    return ""


class _Writer:
    """Writes one model into a Hub, and notes what it had to write."""

    def __init__(self, hub: Hub, entry: ModelEntry) -> None:
        self._hub = hub
        self._entry = entry
        self._created: list[str] = []
        self._changed: list[str] = []

    def write(self) -> Written:
        model = self._model()
        there = {one["name"]: one for one in self._hub.versions(model["id"])}
        for version in self._entry.versions:
            _require_same(there.get(str(version.number)), version, hub=self._hub)
        for version in self._entry.versions:
            self._version(there.get(str(version.number)), version, model=model["id"])
        # Last: whoever reads that there is a champion finds its version.
        self._bring(model, f"registered_models/{model['id']}", self._entry.properties, of=self._uri)
        return Written(
            self._hub.address,
            self._hub.dialect,
            tuple(self._created),
            tuple(self._changed),
            len(self._entry.versions),
        )

    @property
    def _uri(self) -> str:
        return f"models:/{self._entry.name}"

    def _model(self) -> dict[str, Any]:
        found = self._hub.model(self._entry.name)
        if found is not None:
            return found
        try:
            made = self._hub.create(
                "registered_models", {"name": self._entry.name, "state": "LIVE"}
            )
        except HubRefusedError as error:
            # Another run may have made it since.
            found = self._hub.model(self._entry.name) if error.status == TAKEN else None
            if found is None:
                raise
            return found
        self._created.append(self._uri)
        return made

    def _version(self, there: dict[str, Any] | None, version: VersionEntry, *, model: str) -> None:
        if there is None:
            there = self._hub.create(
                "model_versions",
                {
                    "name": str(version.number),
                    "registeredModelId": model,
                    "state": "LIVE",
                    "customProperties": _as_custom(version.properties),
                },
            )
            self._created.append(version.uri)
        else:
            self._bring(there, f"model_versions/{there['id']}", version.properties, of=version.uri)
        self._artifact(there["id"], version)

    def _artifact(self, of: str, version: VersionEntry) -> None:
        name = f"{self._entry.name}-{version.number}"
        said = f"the files of {version.uri}"
        properties = {MODEL_DIGEST: version.digest} if version.digest else {}
        there = next((one for one in self._hub.artifacts(of) if one.get("name") == name), None)
        if there is None:
            self._hub.create(
                f"model_versions/{of}/artifacts",
                {
                    "artifactType": "model-artifact",
                    "name": name,
                    "uri": version.artifact,
                    "state": "LIVE",
                    **_FORMAT,
                    "customProperties": _as_custom(properties),
                },
            )
            self._created.append(said)
            return
        fields = {} if there.get("uri") == version.artifact else {"uri": version.artifact}
        self._bring(there, f"model_artifacts/{there['id']}", properties, of=said, fields=fields)

    def _bring(
        self,
        there: Mapping[str, Any],
        place: str,
        properties: Mapping[str, str],
        *,
        of: str,
        fields: Mapping[str, str] = {},
    ) -> None:
        """Change a thing that is there, unless it says all that already."""
        before = there.get("customProperties") or {}
        after = {key: value for key, value in before.items() if key not in PASSING}
        after |= _as_custom(properties)
        if after == before and not fields:
            return
        # A change of an artifact that does not repeat its state makes that unknown.
        repeated = {key: there[key] for key in ("artifactType", "state") if key in there}
        self._hub.change(place, {**repeated, **fields, "customProperties": after})
        self._changed.append(of)


def _as_custom(properties: Mapping[str, str]) -> dict[str, Any]:
    return {
        key: {"metadataType": "MetadataStringValue", "string_value": value}
        for key, value in properties.items()
    }


def _require_same(there: Mapping[str, Any] | None, version: VersionEntry, *, hub: Hub) -> None:
    """Return only if what the Hub has under a version's number is that version.

    Raises:
        IntegrityError: If it is another's, or of another model: it is not written over.
    """
    if there is None:
        return
    said = there.get("customProperties") or {}
    digest = (said.get(MODEL_DIGEST) or {}).get("string_value", "")
    if URI not in said or (digest and version.digest and digest != version.digest):
        what = f"of the model {digest}" if digest else "not Penstock's"
        raise IntegrityError(
            f"Kubeflow Hub has a version {version.number} of that name, which is {what}, and "
            f"this one is {version.digest or NOT_TRUSTED}",
            where=f"{hub.address}, {version.uri}",
            remedy="Two registries have a model of this name, or it was edited there. Rename one, "
            "or rename or delete what the Hub has.",
        )
