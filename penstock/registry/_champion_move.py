"""Moving the alias `champion`, with the audit log as the lock.

A registry has no compare-and-set for aliases. So a controller first writes an entry that begins the
move, and reads the log again. Of two that begin at the same time at least one then sees the other,
and withdraws its move. An unfinished move is waited for for `PATIENCE` seconds, and then counts as
dead. A controller that was delayed between its last read and the alias for longer than `HELD_UP`
withdraws its move too. What remains is a request that takes that long to reach the registry; it is
noticed afterwards, and corrected.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from penstock.common import progress
from penstock.errors import IntegrityError, ServiceError
from penstock.records.evidence import AuditEntry
from penstock.registry import audit, champion_history
from penstock.registry.audit import Actor, AuditLog
from penstock.registry.champion_history import BEFORE, DONE, VERSION, WITHDRAWN, Move
from penstock.registry.versions import CHALLENGER, CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 5.0
"""Seconds to wait for a move that another controller has begun."""

HELD_UP = 4.0
"""Seconds after which a controller withdraws its own move: others count it as dead soon."""

_ATTEMPTS = 6
_POLL_SECONDS = 0.2

Expected = int | Literal["any"] | None


@dataclass(frozen=True)
class _State:
    """A registered model as it was read in one answer."""

    log: AuditLog
    aliases: dict[str, int]

    @property
    def champion(self) -> int | None:
        return self.aliases.get(CHAMPION)


def move(
    store: MlflowClient,
    name: str,
    version: int,
    *,
    event: str,
    actor: Actor,
    expect: Expected,
    facts: Mapping[str, object],
) -> None:
    """Move the alias; see `champion.set_champion`. The version must exist."""
    for attempt in range(_ATTEMPTS):
        # Two controllers that both withdrew must not collide again.
        time.sleep(attempt * random.uniform(0.05, 0.3))  # noqa: S311
        if _attempt(store, name, version, event=event, actor=actor, expect=expect, facts=facts):
            return
    raise ServiceError(
        "another controller is moving the champion",
        where=f"models:/{name}@{CHAMPION}",
        remedy="See penstock audit, then try again.",
    )


def rollback_target(model: Any) -> tuple[int | None, bool]:
    """Return the version that a rollback without a version goes to, and whether the log says so.

    Args:
        model: MLflow's registered model.
    """
    state = _state_of(model)
    if champion_history.moves(state.log):
        return champion_history.rollback_target(state.log, alias=state.champion), True
    before = state.aliases.get(PREVIOUS)
    return (None if before == state.champion else before), False


def _attempt(
    store: MlflowClient,
    name: str,
    version: int,
    *,
    event: str,
    actor: Actor,
    expect: Expected,
    facts: Mapping[str, object],
) -> bool:
    """Return whether the alias is set; False: another controller is moving it."""
    state = _wait_for_others(store, name, version)
    problem = _problem(state, name)
    if state.champion == version and not problem:
        _settle(store, name, version, state=state)
        return True
    _require_expected(state, name, version, expect=expect, problem=problem)
    started = time.monotonic()
    facts = {VERSION: version, BEFORE: state.champion, **facts}
    uri = f"models:/{name}/{version}"
    begun = audit.record(
        store, name, event=event, uri=uri, actor=actor, facts=facts, there=state.log
    ).digest()
    now = _read(store, name)
    held_up = time.monotonic() - started > HELD_UP
    if held_up or now.champion != state.champion or _others(now.log, begun):
        _withdraw(store, name, uri, begun, reason="Another controller was moving the champion.")
        return False
    _set(store, name, version)
    _confirm(store, name, version, begun=begun)
    return True


def _require_expected(
    state: _State, name: str, version: int, *, expect: Expected, problem: str
) -> None:
    if expect == "any" or state.champion == version:
        return
    where = f"models:/{name}@{CHAMPION}"
    if state.champion != expect:
        raise IntegrityError(
            f"version {version} was to replace {_version(expect)}, but the champion is "
            f"{_version(state.champion)} now",
            where=where,
            remedy="Evaluate and decide again, against the present champion.",
        )
    if problem:
        raise IntegrityError(problem, where=where, remedy=f"{champion_history.remedy(name)}.")


def _read(store: MlflowClient, name: str) -> _State:
    return _state_of(store.get_registered_model(name))


def _state_of(model: Any) -> _State:
    aliases = {alias: int(number) for alias, number in model.aliases.items()}
    return _State(log=audit.read(model.tags), aliases=aliases)


def _wait_for_others(store: MlflowClient, name: str, version: int) -> _State:
    """Return the model once no other controller is moving its champion, or its time is up."""
    until = time.monotonic() + PATIENCE
    while True:
        state = _read(store, name)
        recorded = champion_history.moves(state.log)
        under_way = [
            each
            for each in champion_history.newest(state.log, recorded)
            if not each.done and each.version not in (version, state.champion)
        ]
        if not under_way or time.monotonic() >= until:
            return state
        time.sleep(_POLL_SECONDS)


def _problem(state: _State, name: str) -> str:
    registered = state.log.of(f"models:/{name}/{state.champion}")
    kept = any(entry.event == audit.REGISTERED for entry in registered)
    return champion_history.status_of(state.log, alias=state.champion, kept=kept).problem


def _others(log: AuditLog, begun: str) -> list[Move]:
    """Return the moves that this move did not know of when it began."""
    return [
        each
        for each in champion_history.moves(log)
        if each.digest != begun and not log.descends(begun, each.digest)
    ]


def _set(store: MlflowClient, name: str, version: int) -> None:
    try:
        store.set_registered_model_alias(name, CHAMPION, str(version))
    except Exception:
        # A lost response is not a failed move.
        if _read(store, name).champion != version:
            raise


def _confirm(store: MlflowClient, name: str, version: int, *, begun: str) -> None:
    """Check that the alias and the log agree, and record it.

    Raises:
        IntegrityError: If another controller has moved the alias meanwhile.
    """
    try:
        state = _read(store, name)
    except Exception as error:
        # The alias has moved: the next command sees it, and records it.
        progress.say(f"the champion is version {version}; that could not be read back: {error}")
        return
    others = [each for each in _others(state.log, begun) if each.done]
    if state.champion == version and not others:
        _settle(store, name, version, state=state)
        return
    if others and state.champion == version:
        # This request took so long that another controller counted it as dead.
        store.set_registered_model_alias(name, CHAMPION, str(others[-1].version))
        uri = f"models:/{name}/{version}"
        _withdraw(store, name, uri, begun, reason="It came after another controller's move.")
    raise IntegrityError(
        f"another controller moved the champion while it was moved to version {version}: it is "
        f"{_version(others[-1].version if others else state.champion)} now",
        where=f"models:/{name}@{CHAMPION}",
        remedy=f"{champion_history.remedy(name)}.",
    )


def _settle(store: MlflowClient, name: str, version: int, *, state: _State) -> None:
    """Record that the alias is set, and set the other two aliases.

    The release is complete by now: what cannot be written is left to the next command.
    """
    with contextlib.suppress(Exception):
        recorded = champion_history.newest(state.log, champion_history.moves(state.log))
        if recorded and not any(each.done for each in recorded):
            reached = [each for each in recorded if each.version == version]
            if reached:
                _done(store, name, reached[-1], there=state.log)
    with contextlib.suppress(Exception):
        _remember(store, name, version, state=state)
    with contextlib.suppress(Exception):
        if state.aliases.get(CHALLENGER) == version:
            store.delete_registered_model_alias(name, CHALLENGER)


def _remember(store: MlflowClient, name: str, version: int, *, state: _State) -> None:
    """Let `previous` name the champion before, by the log: never the champion itself."""
    champions = champion_history.champions(state.log, alias=version)
    if not champions:
        return
    before = [each for each in champions if each != version]
    if not before and PREVIOUS in state.aliases:
        store.delete_registered_model_alias(name, PREVIOUS)
    elif before and before[-1] != state.aliases.get(PREVIOUS):
        store.set_registered_model_alias(name, PREVIOUS, str(before[-1]))


def _done(store: MlflowClient, name: str, begun: Move, *, there: AuditLog) -> None:
    entry: AuditEntry = begun.entry
    audit.record(
        store,
        name,
        event="champion moved",
        uri=entry.uri,
        actor=Actor(name=entry.by, means=entry.means, reason="The alias points to it now."),
        facts={VERSION: begun.version, BEFORE: begun.before, DONE: True},
        there=there,
    )


def _withdraw(store: MlflowClient, name: str, uri: str, begun: str, *, reason: str) -> None:
    # If it cannot be written, the move stays unfinished and soon counts as dead.
    with contextlib.suppress(Exception):
        actor = Actor(name=audit.CONTROLLER, reason=reason)
        audit.record(
            store, name, event="move withdrawn", uri=uri, actor=actor, facts={WITHDRAWN: begun}
        )


def _version(number: Expected) -> str:
    return "none" if number is None else f"version {number}"
