"""The champion: the alias, checked against the audit log, fetched to compare with, and moved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from penstock import tracking
from penstock.common import progress
from penstock.errors import InputError, IntegrityError, ServiceError
from penstock.gate.compared import Champion as Compared
from penstock.registry import _champion_move, audit, champion_history, versions
from penstock.registry.audit import Actor
from penstock.registry.versions import Version


@dataclass(frozen=True)
class Champion:
    """What the registry says of a model's champion.

    Attributes:
        version: The version that carries the alias; None: none does.
        problem: Why the alias is not trusted: it was moved or removed by hand. Empty: it is.
        note: What a reader should know although it is no problem.
        rollout: The rollout that promoted it; empty: the log does not say.
    """

    version: Version | None
    problem: str = ""
    note: str = ""
    rollout: str = ""

    def require_recorded(self, name: str) -> Version | None:
        """Return the champion, None where there is none, if the log agrees with the alias.

        Raises:
            IntegrityError: If it does not.
        """
        if self.problem:
            raise IntegrityError(
                self.problem, where="champion", remedy=f"{champion_history.remedy(name)}."
            )
        return self.version


def checked_champion(name: str, *, tracking_uri: str) -> Champion:
    """Return the champion, and whether the audit log agrees with the alias.

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
    log, alias = audit.read(model.tags), None if version is None else version.version
    found = champion_history.status_of(
        log, alias=alias, kept=version is not None and versions.EVIDENCE_DIGEST in version.tags
    )
    rollout = champion_history.moved_by(log, alias=alias)
    return Champion(version, found.problem, found.note, rollout)


def fetch_champion(name: str, *, tracking_uri: str, destination: Path) -> Compared | None:
    """Return the champion of a registered model, downloaded; None while there is none.

    A champion whose files are lost, altered or were never Penstock's, or whose alias does
    not agree with the audit log, is returned with the reason and without a folder: the gate's rule
    then judges that.

    Args:
        name: The registered model.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.
        destination: The folder to make; it must not hold anything yet.

    Raises:
        ServiceError: If the registry or its artifact store does not answer: that says nothing
            about the champion.
    """
    try:
        checked = checked_champion(name, tracking_uri=tracking_uri)
    except IntegrityError as error:
        return Compared(uri=error.where, problem=str(error))
    found = checked.version
    if checked.problem:
        # The alias was moved or removed by hand: whom it names is not who was promoted.
        uri = found.uri if found else f"models:/{name}@{versions.CHAMPION}"
        problem = (
            f"{checked.problem[0].upper()}{checked.problem[1:]}. {champion_history.remedy(name)}."
        )
        return Compared(uri=uri, problem=problem, gone=found is None)
    if checked.note:
        progress.say(checked.note)
    if found is None:
        return None
    try:
        versions.fetch(found.uri, tracking_uri=tracking_uri, destination=destination)
    except IntegrityError as error:
        return Compared(uri=found.uri, problem=str(error))
    except InputError as error:
        problem = f"What the artifact store has for {found.uri} is not a model: {error.what}."
        return Compared(uri=found.uri, problem=problem)
    except ServiceError as error:
        if not _lost(error.__cause__):
            raise
        problem = f"The artifact store does not hold the files of {found.uri}."
        return Compared(uri=found.uri, problem=problem)
    return Compared(uri=found.uri, folder=destination)


def rollback_target(name: str, *, tracking_uri: str) -> Version | None:
    """Return the version that a rollback goes to which names none; None: there is none.

    It is the newest that was champion before by the audit log and was not rolled back. Where the
    log names no champion, as in a registry of an earlier release, it is the one that carries
    the alias `previous`, unless that was rolled back.

    Raises:
        ServiceError: If the registry does not answer.
        IntegrityError: If that version was not registered by Penstock.
    """
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        model = versions.registered_model(store, name)
        number, logged = (None, True) if model is None else _champion_move.rollback_target(model)
        found = None if number is None else versions.version_of(store, name, number)
    return found if found is None or logged or versions.ROLLED_BACK not in found.tags else None


def former_champions(name: str, *, tracking_uri: str) -> tuple[int, ...]:
    """Return the versions that were champion by the audit log, the one that was it last first.

    Where the log names no champion, as in a registry of an earlier release, it is the one that
    carries the alias `previous`. Whether they may serve again is not looked at:
    `penstock.registry.admission.require_return` does that.

    Raises:
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        model = versions.registered_model(store, name)
    if model is None:
        return ()
    log = audit.read(model.tags)
    names = {alias: int(number) for alias, number in model.aliases.items()}
    now = names.get(versions.CHAMPION)
    if champion_history.moves(log):
        return champion_history.former_champions(log, alias=now)
    before = names.get(versions.PREVIOUS)
    return () if before is None or before == now else (before,)


def set_champion(
    name: str,
    version: int,
    *,
    tracking_uri: str,
    event: str = "champion moved",
    actor: Actor = Actor(name="not stated"),
    expect: int | Literal["any"] | None = "any",
    rollout: str = "",
) -> None:
    """Move the alias `champion` to `version`, and `previous` to where a rollback would go then.

    It is written into the audit log before and after. Nothing moves if `version` has the alias
    already and the log agrees. Of two that move it at the same time one wins at most. The alias
    `challenger` is taken from `version`.

    Args:
        name: The registered model.
        version: The version.
        tracking_uri: The MLflow store.
        event: What the log calls it: promoted, rolled back, champion moved.
        actor: Who did it, and why.
        expect: Move it only if it names this version now, None: no version, or `version` already,
            and the log agrees; "any": whatever it names.
        rollout: The rollout that moves it; empty: none does.

    Raises:
        IntegrityError: If the alias names another version than `expect`, was moved by hand, or
            another controller moved it meanwhile.
        ServiceError: If there is no such version, the alias could not be moved, or another
            controller is moving it: that may be tried again.
    """
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        versions.version_of(store, name, version)
        facts = {champion_history.ROLLOUT: rollout} if rollout else {}
        _champion_move.move(
            store, name, version, event=event, actor=actor, expect=expect, facts=facts
        )


def _lost(cause: BaseException | None) -> bool:
    """Return whether a store responded that it does not hold the files."""
    code = getattr(cause, "error_code", "")
    return isinstance(cause, FileNotFoundError) or code == "RESOURCE_DOES_NOT_EXIST"
