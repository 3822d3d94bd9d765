"""The champion as what a decision rests on: the alias, checked against the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

from penstock import tracking
from penstock.errors import IntegrityError
from penstock.registry import _champion_move, _standing, audit, versions
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
        number, told = (None, True) if model is None else _champion_move.way_back(model)
        found = None if number is None else versions.version_of(store, name, number)
    return found if found is None or told or versions.ROLLED_BACK not in found.tags else None
