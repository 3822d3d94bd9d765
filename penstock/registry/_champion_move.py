"""Moving the alias `champion`, with the audit trail as the lock.

A registry has no "set it if it is still that". So whoever moves the alias writes first into the
trail that it begins, and looks again. Of two who begin at the same time at least one sees the other
then, and takes its move back; a move that was begun and is not done is waited for, and is dead if
it is not done by then. Between its last look and the alias a controller that was held up for longer
than it may be takes its move back too. What remains is a request that is under way to the registry
for that long; it is noticed afterwards, and put right.
"""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from penstock.common import progress
from penstock.errors import IntegrityError, ServiceError
from penstock.records.evidence import AuditEntry
from penstock.registry import _standing, audit
from penstock.registry._standing import BEFORE, DONE, VERSION, WITHDRAWN, Move
from penstock.registry.audit import Trail, Word

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"

PATIENCE = 5.0
"""Seconds for which a move that somebody else has begun is waited for."""

HELD_UP = 4.0
"""Seconds after which a move is taken back by who began it: others take it for dead soon."""

_ATTEMPTS = 6
_LOOK_AGAIN = 0.2

Expected = int | Literal["any"] | None


@dataclass(frozen=True)
class _Seen:
    """A registered model as it was read in one answer."""

    trail: Trail
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
    word: Word,
    expect: Expected,
) -> None:
    """Move the alias; see `versions.set_champion`. The version must exist."""
    for attempt in range(_ATTEMPTS):
        # Two that gave way to each other must not meet again.
        time.sleep(attempt * random.uniform(0.05, 0.3))  # noqa: S311
        if _attempt(store, name, version, event=event, word=word, expect=expect):
            return
    raise ServiceError(
        "another controller is moving the champion",
        where=f"models:/{name}@{CHAMPION}",
        remedy="Look at: penstock audit. Then try again.",
    )


def way_back(model: Any) -> tuple[int | None, bool]:
    """Return where a rollback goes that names no version, and whether the trail says so.

    Args:
        model: MLflow's registered model.
    """
    seen = _seen(model)
    if _standing.moves(seen.trail):
        return _standing.way_back(seen.trail, alias=seen.champion), True
    before = seen.aliases.get(PREVIOUS)
    return (None if before == seen.champion else before), False


def _attempt(
    store: MlflowClient, name: str, version: int, *, event: str, word: Word, expect: Expected
) -> bool:
    """Return whether the alias is where it is to be; False: somebody else is moving it."""
    seen = _free(store, name, version)
    problem = _problem(seen, name)
    if seen.champion == version and not problem:
        _settle(store, name, version, seen=seen)
        return True
    _require_expected(seen, name, version, expect=expect, problem=problem)
    started = time.monotonic()
    facts = {VERSION: version, BEFORE: seen.champion}
    uri = f"models:/{name}/{version}"
    begun = audit.write(
        store, name, event=event, uri=uri, word=word, facts=facts, there=seen.trail
    ).digest()
    now = _look(store, name)
    held_up = time.monotonic() - started > HELD_UP
    if held_up or now.champion != seen.champion or _others(now.trail, begun):
        _withdraw(store, name, uri, begun, reason="Another controller was moving the champion.")
        return False
    _set(store, name, version)
    _confirm(store, name, version, begun=begun)
    return True


def _require_expected(
    seen: _Seen, name: str, version: int, *, expect: Expected, problem: str
) -> None:
    if expect == "any" or seen.champion == version:
        return
    where = f"models:/{name}@{CHAMPION}"
    if seen.champion != expect:
        raise IntegrityError(
            f"version {version} was to follow {_version(expect)}, but the champion is "
            f"{_version(seen.champion)} now",
            where=where,
            remedy="Evaluate and decide again, against the champion there is.",
        )
    if problem:
        raise IntegrityError(problem, where=where, remedy=f"{_standing.remedy(name)}.")


def _look(store: MlflowClient, name: str) -> _Seen:
    return _seen(store.get_registered_model(name))


def _seen(model: Any) -> _Seen:
    aliases = {alias: int(number) for alias, number in model.aliases.items()}
    return _Seen(trail=audit.read(model.tags), aliases=aliases)


def _free(store: MlflowClient, name: str, version: int) -> _Seen:
    """Return the model once nobody else is seen moving its champion, or has had time to."""
    until = time.monotonic() + PATIENCE
    while True:
        seen = _look(store, name)
        told = _standing.moves(seen.trail)
        under_way = [
            each
            for each in _standing.newest(seen.trail, told)
            if not each.done and each.version not in (version, seen.champion)
        ]
        if not under_way or time.monotonic() >= until:
            return seen
        time.sleep(_LOOK_AGAIN)


def _problem(seen: _Seen, name: str) -> str:
    registered = seen.trail.of(f"models:/{name}/{seen.champion}")
    kept = any(entry.event == audit.REGISTERED for entry in registered)
    return _standing.standing(seen.trail, alias=seen.champion, kept=kept).problem


def _others(trail: Trail, begun: str) -> list[Move]:
    """Return the moves that were not known to the one that was begun."""
    return [
        each
        for each in _standing.moves(trail)
        if each.digest != begun and not trail.descends(begun, each.digest)
    ]


def _set(store: MlflowClient, name: str, version: int) -> None:
    try:
        store.set_registered_model_alias(name, CHAMPION, str(version))
    except Exception:
        # An answer that got lost on its way is not a move that failed.
        if _look(store, name).champion != version:
            raise


def _confirm(store: MlflowClient, name: str, version: int, *, begun: str) -> None:
    """Look whether the alias and the trail agree, and write it down.

    Raises:
        IntegrityError: If somebody else has moved the alias meanwhile.
    """
    try:
        seen = _look(store, name)
    except Exception as error:
        # The alias has moved: whoever looks next sees it, and writes it down.
        progress.say(f"the champion is version {version}; that could not be read back: {error}")
        return
    others = [each for each in _others(seen.trail, begun) if each.done]
    if seen.champion == version and not others:
        _settle(store, name, version, seen=seen)
        return
    if others and seen.champion == version:
        # This request was under way for so long that another controller took it for dead.
        store.set_registered_model_alias(name, CHAMPION, str(others[-1].version))
        uri = f"models:/{name}/{version}"
        _withdraw(store, name, uri, begun, reason="It came after another controller's move.")
    raise IntegrityError(
        f"another controller moved the champion while it was moved to version {version}: it is "
        f"{_version(others[-1].version if others else seen.champion)} now",
        where=f"models:/{name}@{CHAMPION}",
        remedy=f"{_standing.remedy(name)}.",
    )


def _settle(store: MlflowClient, name: str, version: int, *, seen: _Seen) -> None:
    """Write down that the alias is there, and put the other two aliases where they belong.

    The release stands by now: what cannot be written is left to whoever looks next.
    """
    with contextlib.suppress(Exception):
        told = _standing.newest(seen.trail, _standing.moves(seen.trail))
        if told and not any(each.done for each in told):
            reached = [each for each in told if each.version == version]
            if reached:
                _done(store, name, reached[-1], there=seen.trail)
    with contextlib.suppress(Exception):
        _remember(store, name, version, seen=seen)
    with contextlib.suppress(Exception):
        if seen.aliases.get(CHALLENGER) == version:
            store.delete_registered_model_alias(name, CHALLENGER)


def _remember(store: MlflowClient, name: str, version: int, *, seen: _Seen) -> None:
    """Let `previous` name the champion before, by the trail: never the champion itself."""
    champions = _standing.champions(seen.trail, alias=version)
    if not champions:
        return
    before = [each for each in champions if each != version]
    if not before and PREVIOUS in seen.aliases:
        store.delete_registered_model_alias(name, PREVIOUS)
    elif before and before[-1] != seen.aliases.get(PREVIOUS):
        store.set_registered_model_alias(name, PREVIOUS, str(before[-1]))


def _done(store: MlflowClient, name: str, begun: Move, *, there: Trail) -> None:
    entry: AuditEntry = begun.entry
    audit.write(
        store,
        name,
        event="champion moved",
        uri=entry.uri,
        word=Word(by=entry.by, means=entry.means, reason="The alias names it now."),
        facts={VERSION: begun.version, BEFORE: begun.before, DONE: True},
        there=there,
    )


def _withdraw(store: MlflowClient, name: str, uri: str, begun: str, *, reason: str) -> None:
    # Where it is not taken, the move stays begun and is dead in a while.
    with contextlib.suppress(Exception):
        word = Word(by="Penstock", reason=reason)
        audit.write(
            store, name, event="move withdrawn", uri=uri, word=word, facts={WITHDRAWN: begun}
        )


def _version(number: Expected) -> str:
    return "none" if number is None else f"version {number}"
