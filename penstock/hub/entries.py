"""What the Hub is to say of a model: of each version its state, its digests, and where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock import tracking
from penstock.errors import IntegrityError, NotApprovedError
from penstock.gate.approval import ApprovalSpec
from penstock.redaction import redact_address
from penstock.registry import approvals, audit, registration, versions
from penstock.registry.champion import checked_champion, former_champions
from penstock.registry.versions import Version

STATE, PROBLEM, CHAMPION = "penstock.state", "penstock.problem", "penstock.champion"

_COPIED = (
    versions.MODEL_DIGEST,
    versions.EXPORT_DIGEST,
    versions.DECISION_DIGEST,
    versions.EVIDENCE_DIGEST,
    versions.DATASET,
    versions.TRAINING_PART,
    versions.ROLLED_BACK,
    "penstock.holdout",
    "penstock.pipeline_run",
)
"""Tags of a version that the Hub has under the same names."""

URI = "penstock.uri"
PASSING = (STATE, PROBLEM, CHAMPION, versions.ROLLED_BACK, "penstock.page")
"""Properties that are removed where they hold no more. All others are only added or changed."""

NOT_TRUSTED = "not trusted"


@dataclass(frozen=True)
class VersionEntry:
    """One version.

    Attributes:
        number: Its number, which is its name in the Hub.
        uri: `models:/name/3`.
        digest: Of the model: it identifies the version. Empty: what the tags say is not trusted.
        artifact: Where its files are.
        properties: What else is said of it, by name.
    """

    number: int
    uri: str
    digest: str
    artifact: str
    properties: Mapping[str, str]


@dataclass(frozen=True)
class ModelEntry:
    """A registered model.

    Attributes:
        name: Its name.
        properties: What is said of it.
        versions: Those that Penstock registered, the first one first.
    """

    name: str
    properties: Mapping[str, str]
    versions: tuple[VersionEntry, ...]


def entry_of(name: str, *, tracking_uri: str) -> ModelEntry | None:
    """Return what the Hub is to say of a registered model; None: there is none of that name.

    A version whose tags are not what the audit log says is `not trusted`, with the reason; the
    digests that its tags hold are not repeated.

    Args:
        name: The registered model.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.

    Raises:
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        model = versions.registered_model(store, name)
        if model is None:
            return None
        found = list(versions.newest_first(store, name))
    champion = checked_champion(name, tracking_uri=tracking_uri)
    names = _Names(
        champion=0 if champion.problem or not champion.version else champion.version.version,
        challenger=int(model.aliases.get(versions.CHALLENGER, 0)),
        former=frozenset(former_champions(name, tracking_uri=tracking_uri)),
    )
    log = audit.read(model.tags)
    entries = []
    for version in reversed(found):
        problem = ""
        try:
            registration.require_registered(store, log, version, tags=versions.REGISTERED_TAGS)
        except IntegrityError as error:
            problem = str(error)
        state = NOT_TRUSTED if problem else names.state_of(version, model_tags=model.tags)
        entries.append(_version(version, state=state, problem=problem, tracking_uri=tracking_uri))
    said = {CHAMPION: str(names.champion or "none"), PROBLEM: champion.problem}
    page = _page(name, None, tracking_uri=tracking_uri)
    return ModelEntry(name, _kept({**said, "penstock.page": page}), tuple(entries))


@dataclass(frozen=True)
class _Names:
    """Which versions of a model have a part now; 0: none has."""

    champion: int
    challenger: int
    former: frozenset[int]

    def state_of(self, version: Version, *, model_tags: Mapping[str, str]) -> str:
        if version.version == self.champion:
            return "champion"
        if versions.ROLLED_BACK in version.tags:
            return "rolled back"
        if _is_rejected(version, model_tags=model_tags):
            return "rejected"
        if version.version in self.former:
            return "former champion"
        return "challenger" if version.version == self.challenger else "registered"


def _is_rejected(version: Version, *, model_tags: Mapping[str, str]) -> bool:
    # Whoever rejected it, on whatever machine this is asked.
    anybody = ApprovalSpec(trust_explicit=True)
    try:
        return approvals.judge_tags(
            version.uri, tags=version.tags, model_tags=model_tags, spec=anybody
        ).rejected
    except NotApprovedError:
        return True


def _version(version: Version, *, state: str, problem: str, tracking_uri: str) -> VersionEntry:
    copied = {} if problem else {tag: version.tags.get(tag, "") for tag in _COPIED}
    said = {
        **copied,
        STATE: state,
        PROBLEM: problem,
        URI: version.uri,
        "penstock.mlflow_run": version.run,
        "penstock.page": _page(version.name, version.version, tracking_uri=tracking_uri),
    }
    where = versions.artifacts_of(version.name, version.version, tracking_uri=tracking_uri)
    return VersionEntry(
        number=version.version,
        uri=version.uri,
        digest="" if problem else version.model,
        artifact=redact_address(where),
        properties=_kept(said),
    )


def _page(name: str, version: int | None, *, tracking_uri: str) -> str:
    from penstock.rollout.notices import page_of

    return page_of(name, version, tracking_uri=tracking_uri)


def _kept(said: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in said.items() if value}
