"""The champion as what a decision rests on: the alias, checked against the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

from penstock import tracking
from penstock.errors import IntegrityError, NotApprovedError
from penstock.registry import _standing, approvals, audit, versions
from penstock.registry.versions import Version


@dataclass(frozen=True)
class Champion:
    """What the registry says of a model's champion.

    Attributes:
        version: The version that carries the alias; None: none does.
        problem: Why the alias cannot be believed: it was moved or removed by hand. Empty: it can.
        note: What a reader should know although it is no problem.
    """

    version: Version | None
    problem: str = ""
    note: str = ""

    def require_told(self, name: str) -> Version | None:
        """Return the champion, None where there is none, if the trail agrees with the alias.

        Raises:
            IntegrityError: If it does not.
        """
        if self.problem:
            raise IntegrityError(
                self.problem, where="champion", remedy=f"{_standing.remedy(name)}."
            )
        return self.version


def checked_champion(name: str, *, tracking_uri: str) -> Champion:
    """Return the champion, and whether the audit trail agrees with the alias.

    Raises:
        ServiceError: If the registry does not answer.
        IntegrityError: If the champion was not registered by Penstock.
    """
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        model = versions.registered_model(store, name)
        if model is None:
            return Champion(None)
        number = model.aliases.get(versions.CHAMPION)
        version = None if number is None else versions.version_of(store, name, int(number))
    found = _standing.standing(
        audit.read(model.tags),
        alias=None if version is None else version.version,
        kept=version is not None and versions.EVIDENCE_DIGEST in version.tags,
    )
    return Champion(version, found.problem, found.note)


def require_return(name: str, version: int, *, tracking_uri: str) -> Version:
    """Return a version if it may be made champion again: it was, and nobody has rejected it.

    Args:
        name: The registered model.
        version: The version.
        tracking_uri: The MLflow store.

    Raises:
        NotApprovedError: If it was never promoted, or people's word on it is a rejection or was
            tampered with.
        IntegrityError: If its tags are not what the audit trail says it was registered with.
        ServiceError: If the registry does not answer.
    """
    uri = f"models:/{name}/{version}"
    found = versions.registered(uri, tracking_uri=tracking_uri)
    versions.require_as_registered(found, tracking_uri=tracking_uri)
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        model = store.get_registered_model(name)
    trail = audit.read(model.tags)
    alias = model.aliases.get(versions.CHAMPION)
    before = versions.EVIDENCE_DIGEST not in found.tags and not _standing.moves(trail)
    if not before and not _standing.was_champion(
        trail, version, alias=None if alias is None else int(alias)
    ):
        raise NotApprovedError(
            f"version {version} was never promoted",
            where=uri,
            remedy="Release it with: penstock run. Who was champion says: penstock audit. Where "
            "nobody was, take the alias champion away in MLflow.",
        )
    judged = approvals.judge_tags(
        uri, tags=found.tags, model_tags=model.tags, spec=approvals.ANYBODY
    )
    if judged.rejected:
        raise NotApprovedError(
            judged.sentence,
            where=uri,
            remedy=f"Who rejected it may take it back: penstock approve {uri} --reason TEXT",
        )
    return found


def way_back(name: str, *, tracking_uri: str) -> Version | None:
    """Return the version that a rollback goes to which names none; None: there is none.

    It is the newest that was champion before by the audit trail and was not rolled back. Where the
    trail tells of no champion, as in a registry of an earlier release, it is the one that carries
    the alias `previous`, unless that was rolled back.

    Raises:
        ServiceError: If the registry does not answer.
        IntegrityError: If that version was not registered by Penstock.
    """
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        model = versions.registered_model(store, name)
        if model is None:
            return None
        there = {alias: int(number) for alias, number in model.aliases.items()}
        trail, now = audit.read(model.tags), there.get(versions.CHAMPION)
        if _standing.moves(trail):
            number = _standing.way_back(trail, alias=now)
            return None if number is None else versions.version_of(store, name, number)
        number = there.get(versions.PREVIOUS)
        if number is None or number == now:
            return None
        found = versions.version_of(store, name, number)
    return None if versions.ROLLED_BACK in found.tags else found
