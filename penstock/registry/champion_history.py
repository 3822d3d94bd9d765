"""Which version is the champion, which were before, and whether the log agrees with the alias.

The order is that of the log's chain. No time is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.records.evidence import AuditEntry
from penstock.registry import audit
from penstock.registry.audit import REGISTERED, AuditLog

VERSION, BEFORE, DONE = "champion", "before", "done"
"""Facts of an entry that moves the champion: where to, from where, and whether the alias was seen
there. An entry is written before the alias moves, and a second one once it has."""

WAITED_FOR = "waited_for"
"""Fact of an entry that begins a move: seconds after which others count it as dead. Earlier
releases did not say."""

WITHDRAWN = "withdrawn"
"""Fact of an entry that takes a begun move back: the digest of the entry that began it."""

ROLLOUT = "identity"
"""Fact of an entry that begins a move: the rollout that makes it. Earlier releases did not say."""

PROMOTED = "promoted"

_REMEDY = "penstock audit --champion VERSION --reason TEXT"


@dataclass(frozen=True)
class ChampionStatus:
    """What the alias says and what the log says.

    Attributes:
        version: The version that carries the alias; None: none does.
        problem: Why that is not trusted; empty: it is.
        note: What a reader should know although it is no problem.
    """

    version: int | None
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class Move:
    """An entry that moves the champion.

    Attributes:
        entry: The entry.
        digest: Its digest.
        version: Where to.
        before: What the alias named when it was begun; None: nothing.
        done: Whether the alias was seen there; else it was only begun.
    """

    entry: AuditEntry
    digest: str
    version: int
    before: int | None
    done: bool


def moves(log: AuditLog) -> tuple[Move, ...]:
    """Return the moves of the champion that were not withdrawn, in the order of the chain."""
    withdrawn = {entry.facts.get(WITHDRAWN) for entry in log.entries if WITHDRAWN in entry.facts}
    found = []
    for digest, entry in zip(log.digests, log.entries, strict=True):
        version, before = entry.facts.get(VERSION), entry.facts.get(BEFORE)
        # A store's tags may hold anything; what Penstock wrote is a number.
        if type(version) is not int:
            continue
        done = bool(entry.facts.get(DONE))
        if done or digest not in withdrawn:
            known = before if type(before) is int else None
            found.append(Move(entry, digest, version, known, done))
    return tuple(found)


def newest(log: AuditLog, of: Sequence[Move]) -> tuple[Move, ...]:
    """Return those of the moves that no later one descends from: one, unless two did not meet."""
    tops: list[Move] = []
    for move in reversed(of):
        if not any(log.descends(top.digest, move.digest) for top in tops):
            tops.append(move)
    return tuple(reversed(tops))


def status_of(log: AuditLog, *, alias: int | None, kept: bool) -> ChampionStatus:
    """Compare the alias with the log.

    Args:
        log: Of the registered model.
        alias: The version that carries the alias `champion`.
        kept: Whether that version was registered by a release that keeps an audit log.
    """
    recorded = moves(log)
    if not recorded:
        return _unrecorded(alias, kept=kept)
    tops = newest(log, recorded)
    done = [top for top in tops if top.done]
    if len({top.version for top in done}) > 1:
        both = " and ".join(_sentence(top) for top in done)
        return ChampionStatus(
            alias,
            f"{both}, neither entry knowing of the other, and the alias champion points to "
            f"{_version(alias)}: two controllers moved it at the same time",
        )
    if alias in _explained(log, recorded, tops):
        return ChampionStatus(alias, note=_begun(tops, alias))
    last = (done or tops)[-1]
    if alias is None:
        problem = (
            f"{_sentence(last)}, but no version carries the alias champion: it was removed by hand"
        )
        return ChampionStatus(None, problem)
    why = "the alias was moved by hand"
    if any(top.version == alias for top in tops):
        why = "two controllers moved it at the same time"
    return ChampionStatus(
        alias,
        f"the alias champion points to version {alias}, but by the audit log version "
        f"{last.version} became the champion on {_when(last.entry)}: {why}",
    )


def moved_by(log: AuditLog, *, alias: int | None) -> str:
    """Return the rollout that made the present champion what it is; empty: the log does not say."""
    for move in reversed(moves(log)):
        if move.version != alias:
            break
        if ROLLOUT in move.entry.facts:
            return str(move.entry.facts[ROLLOUT])
    return ""


def champions(log: AuditLog, *, alias: int | None = None) -> tuple[int, ...]:
    """Return the champions that a rollback can go back to, the present one last.

    A promotion puts a version on top; a rollback, or a move by hand, to one that is there takes
    away those above it, and to another that was promoted before it takes the place of what it left.

    Args:
        log: Of the registered model.
        alias: What the alias names: a move there that was only begun has happened then.
    """
    stack: list[int] = []
    promoted: set[int] = set()
    for move in _happened(log, alias=alias):
        if not stack and move.before is not None and _unregistered(log, move):
            # It was champion before there was an audit log.
            stack.append(move.before)
        if move.entry.event != PROMOTED and move.version in stack:
            while stack[-1] != move.version:
                stack.pop()
        elif stack and move.entry.event != PROMOTED and move.version in promoted:
            stack[-1] = move.version
        elif not stack or stack[-1] != move.version:
            stack.append(move.version)
        if move.entry.event == PROMOTED:
            promoted.add(move.version)
    return tuple(stack)


def was_champion(log: AuditLog, version: int, *, alias: int | None = None) -> bool:
    """Return whether a version was promoted at some time, or was champion before the log began.

    A version that only a rollback or a move by hand made champion was never let in: it was not.
    """
    happened = _happened(log, alias=alias)
    if any(move.version == version and move.entry.event == PROMOTED for move in happened):
        return True
    return bool(happened) and happened[0].before == version and _unregistered(log, happened[0])


def promoting_rollouts(log: AuditLog, *, alias: int | None) -> frozenset[str]:
    """Return the rollouts that have promoted a version; earlier releases did not name them."""
    happened = _happened(log, alias=alias)
    named = [move.entry.facts.get(ROLLOUT) for move in happened if move.entry.event == PROMOTED]
    return frozenset(str(name) for name in named if name)


def former_champions(log: AuditLog, *, alias: int | None = None) -> tuple[int, ...]:
    """Return the versions that were champion and are not now, the one that was it last first.

    Args:
        log: Of the registered model.
        alias: What the alias names.
    """
    happened = _happened(log, alias=alias)
    order = [move.version for move in happened]
    if happened and happened[0].before is not None:
        order.insert(0, happened[0].before)
    newest_first = dict.fromkeys(reversed(order))
    return tuple(
        version
        for version in newest_first
        if version != alias and was_champion(log, version, alias=alias)
    )


def rollback_target(log: AuditLog, *, alias: int | None) -> int | None:
    """Return where a rollback goes that names no version; None: there is nowhere to go."""
    for version in reversed(champions(log, alias=alias)):
        if version != alias and was_champion(log, version, alias=alias):
            return version
    return None


def remedy(name: str) -> str:
    """Return what puts the champion right."""
    return f"See penstock audit --model {name}. Correct it with: {_REMEDY} --model {name}"


def _happened(log: AuditLog, *, alias: int | None) -> list[Move]:
    """Return the moves after which the alias was where they put it, in their order.

    That is known of a begun move if it was seen done, if a later one started from there, or if
    the alias is there now.
    """
    found: list[Move] = []
    open_: list[Move] = []
    for move in moves(log):
        known = [each for each in open_ if log.descends(move.digest, each.digest)]
        there = move.version if move.done else move.before
        reached = [each for each in known if each.version == there]
        found += reached[-1:]
        if move.done and not reached and (not found or found[-1].version != move.version):
            found.append(move)
        open_ = [each for each in open_ if each not in known]
        if not move.done:
            open_.append(move)
    return found + [each for each in open_ if each.version == alias][-1:]


def _explained(
    log: AuditLog, recorded: Sequence[Move], tops: Sequence[Move]
) -> frozenset[int | None]:
    """Return the versions that the alias may point to unless it was moved by hand."""
    if any(top.done for top in tops):
        return frozenset(top.version for top in tops if top.done)
    named: dict[str, frozenset[int | None]] = {}
    for place, move in enumerate(recorded):
        named[move.digest] = frozenset({move.version})
        if not move.done:
            known = [each for each in recorded[:place] if log.descends(move.digest, each.digest)]
            there = _named_by(newest(log, known), named) or frozenset({move.before})
            named[move.digest] |= frozenset({move.before}) & there or there
    return _named_by(tops, named)


def _named_by(
    tops: Iterable[Move], named: dict[str, frozenset[int | None]]
) -> frozenset[int | None]:
    tops = tuple(tops)
    decisive = [top for top in tops if top.done] or tops
    return frozenset().union(*(named[top.digest] for top in decisive))


def _unregistered(log: AuditLog, move: Move) -> bool:
    """Return whether the version that a move started from is from before the log."""
    uri = f"{move.entry.uri.rpartition('/')[0]}/{move.before}"
    return not any(entry.event == REGISTERED for entry in log.of(uri))


def _unrecorded(alias: int | None, *, kept: bool) -> ChampionStatus:
    if alias is None:
        return ChampionStatus(None)
    if kept:
        return ChampionStatus(
            alias,
            f"the alias champion points to version {alias}, but the audit log has no promotion: "
            "the alias was set by hand, or the audit log was removed",
        )
    return ChampionStatus(
        alias,
        note=f"Version {alias} became champion before there was an audit log: the alias counts.",
    )


def _begun(tops: Iterable[Move], alias: int | None) -> str:
    return " ".join(
        f"Moving the champion alias to version {top.version} was begun on {_when(top.entry)} and "
        "not finished."
        for top in tops
        if not top.done and top.version != alias
    )


def _sentence(move: Move) -> str:
    return (
        f"version {move.version} became the champion on {_when(move.entry)}, set by "
        f"{audit.actor_of(move.entry)}"
    )


def _version(alias: int | None) -> str:
    return "none" if alias is None else f"version {alias}"


def _when(entry: AuditEntry) -> str:
    return f"{entry.time:%Y-%m-%d %H:%M:%S} UTC"
