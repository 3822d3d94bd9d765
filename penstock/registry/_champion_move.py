"""Moving the alias `champion`, with the audit log as the lock.

A registry has no compare-and-set for aliases. So a controller first writes an entry that begins the
move, and reads the log again. Of two that begin at the same time at least one then sees the other,
and withdraws its move. An unfinished move is waited for for `PATIENCE` seconds, and then counts as
dead. A controller that needs longer than `HELD_UP` from its entry to the alias withdraws its move
too. What remains is a request that takes that long to reach the registry; it is noticed afterwards,
and corrected.

A registry may be slow for everybody. So a try that follows one which was held up has at least twice
the time, and what that one took; its entry says for how long others are to wait for it.
"""

from __future__ import annotations

import contextlib
import itertools
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
from penstock.registry.champion_history import (
    BEFORE,
    DONE,
    VERSION,
    WAITED_FOR,
    WITHDRAWN,
    Move,
)
from penstock.registry.versions import CHALLENGER, CHAMPION, PREVIOUS

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 5
"""Seconds to wait for a move that another controller has begun, if its entry names no others."""

HELD_UP = 3
"""Seconds after which a controller withdraws its first try: others count it as dead soon."""

_MOST_TIMES = 16
"""How many times both of them a try may have at most: three answers are awaited between the entry
and the alias, so a registry may take 15 s for each."""

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


@dataclass(frozen=True)
class _Withdrawn:
    """A try that was taken back.

    Attributes:
        times: How many times `HELD_UP` it had.
        took: Seconds that the registry needed to take its entry and to return it.
        met: Whether another controller was moving the champion.
    """

    times: int
    took: float
    met: bool

    @property
    def next_times(self) -> int:
        times = self.times
        while times < _MOST_TIMES and self.took > HELD_UP * times:
            times *= 2
        return times

    @property
    def why(self) -> str:
        if self.met:
            return "another controller is moving the champion"
        return (
            f"the registry did not answer in time: it took {self.took:.1f} s to write the move and "
            f"to read it back, and has {HELD_UP * self.times:g} s"
        )

    def error(self, name: str) -> ServiceError:
        remedy = "The champion was not moved. Try again when MLflow answers faster."
        if self.met:
            remedy = "See penstock audit, then try again."
        return ServiceError(self.why, where=f"models:/{name}@{CHAMPION}", remedy=remedy)


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
    times, until = 1, dict[str, float]()
    for attempt in itertools.count(1):
        state = _wait_for_others(store, name, version, until=until)
        times = max(times, _times_of(state.log, version))
        withdrawn = _attempt(
            store,
            name,
            version,
            state=state,
            times=times,
            event=event,
            actor=actor,
            expect=expect,
            facts=facts,
        )
        if withdrawn is None:
            return
        if attempt == _ATTEMPTS:
            raise withdrawn.error(name)
        times = withdrawn.next_times
        # Two controllers that both withdrew must not collide again.
        time.sleep(attempt * random.uniform(0.05, 0.3))  # noqa: S311


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
    state: _State,
    times: int,
    event: str,
    actor: Actor,
    expect: Expected,
    facts: Mapping[str, object],
) -> _Withdrawn | None:
    """Return None if the alias is set, else why it is not."""
    problem = _problem(state, name)
    if state.champion == version and not problem:
        _settle(store, name, version, state=state)
        return None
    _require_expected(state, name, version, expect=expect, problem=problem)
    started = time.monotonic()
    waited_for = {WAITED_FOR: PATIENCE * times}
    facts = {VERSION: version, BEFORE: state.champion, **waited_for, **facts}
    uri = f"models:/{name}/{version}"
    begun = audit.record(
        store, name, event=event, uri=uri, actor=actor, facts=facts, there=state.log
    ).digest()
    now = _read(store, name)
    met = now.champion != state.champion or bool(_others(now.log, begun))
    took = time.monotonic() - started
    if met or took > HELD_UP * times:
        withdrawn = _Withdrawn(times, took=took, met=met)
        reason = f"{withdrawn.why[0].upper()}{withdrawn.why[1:]}."
        _withdraw(store, name, uri, begun, reason=reason, there=now.log)
        return withdrawn
    _set(store, name, version)
    _confirm(store, name, version, begun=begun)
    return None


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


def _wait_for_others(
    store: MlflowClient, name: str, version: int, *, until: dict[str, float]
) -> _State:
    """Return the model once no other controller is moving its champion, or their time is up.

    Args:
        store: The registry.
        name: The registered model.
        version: Where the champion is to be moved to.
        until: When each move counts as dead, by its digest; those that are met are added.
    """
    while True:
        state = _read(store, name)
        # From the answer on, however long the registry took for it: others had no chance before.
        now = time.monotonic()
        recorded = champion_history.moves(state.log)
        under_way = [
            each
            for each in champion_history.newest(state.log, recorded)
            if not each.done
            and each.version not in (version, state.champion)
            and now < until.setdefault(each.digest, now + _patience_of(each.entry))
        ]
        if not under_way:
            return state
        time.sleep(_POLL_SECONDS)


def _patience_of(entry: AuditEntry) -> float:
    """Return for how many seconds a move is waited for, by the entry that begins it."""
    told = entry.facts.get(WAITED_FOR)
    # A store's tags may hold anything.
    if not isinstance(told, int | float) or isinstance(told, bool):
        return PATIENCE
    return min(max(told, PATIENCE), PATIENCE * _MOST_TIMES)


def _times_of(log: AuditLog, version: int) -> int:
    """Return what the newest try to move the champion to a version had, whoever made it.

    A controller that was killed in a slow registry is followed by one that goes on with its move.
    """
    for entry in reversed(log.entries):
        if entry.facts.get(VERSION) == version and WAITED_FOR in entry.facts:
            return round(_patience_of(entry) / PATIENCE) if PATIENCE else 1
    return 1


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
        reason = "It came after another controller's move."
        _withdraw(store, name, uri, begun, reason=reason, there=state.log)
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


def _withdraw(
    store: MlflowClient, name: str, uri: str, begun: str, *, reason: str, there: AuditLog
) -> None:
    # If it cannot be written, the move stays unfinished and soon counts as dead.
    with contextlib.suppress(Exception):
        actor = Actor(name=audit.CONTROLLER, reason=reason)
        audit.record(
            store,
            name,
            event="move withdrawn",
            uri=uri,
            actor=actor,
            facts={WITHDRAWN: begun},
            there=there,
        )


def _version(number: Expected) -> str:
    return "none" if number is None else f"version {number}"
