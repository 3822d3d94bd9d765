"""The audit log of a registered model: what happened to it, by whom and why; entries are chained.

Entries are tags of the registered model, `penstock.audit.<time>.<first 8 hex of the digest>`. Each
names the digests of the newest entries that were there before it, so if one is changed or removed
later, its successor names a digest that is gone; a changed newest one does not fit the digest in
its key.

The chain alone gives the order. The time of an entry is from the clock of whoever wrote it: it is
shown to people, and nothing is decided by it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError
from penstock.records.evidence import AuditEntry

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREFIX = "penstock.audit."

VALUE_LENGTH = 5000
"""Characters that MLflow's stores take as a tag's value."""

REGISTERED = "registered"
ADMITTED = "admitted"
"""Events: a version was registered; it may serve, written before it gets any request."""

KEPT = "champion kept"
"""Event: an experiment ended, and the version was not shown to be better than the champion."""

GATE = "gate (automatic)"
CANARY = "canary (automatic)"
RELEASE = "release (automatic)"
GUARDIAN = "guardian (automatic)"
EXPERIMENT = "experiment (automatic)"
MONITOR = "monitor (automatic)"
CONTROLLER = "Penstock (automatic)"
"""Actors that are no person, as the audit log names them."""

REQUESTER = "pipeline parameter"
"""Means of an identity that a run was started with."""

_FORMER = {
    "the decision and its rules": GATE,
    "the decision and the rules of the canary": CANARY,
    "the rules of the canary": CANARY,
    "the controller of the rollout": CANARY,
    "the release of another version": RELEASE,
    "Penstock": CONTROLLER,
    "told to the pipeline": REQUESTER,
}
"""Names and means in entries of earlier releases, and what the same is called now."""

_JOINED = "joined"
_REASON_LENGTH = 1000
_HEADS = 20


@dataclass(frozen=True)
class Actor:
    """Who does something, why, and on which records.

    Attributes:
        name: A person, or one of the automatic actors.
        means: How a person's identity was established; empty for an automatic actor.
        reason: Why.
        digests: Of the records that it rests on, by kind.
    """

    name: str
    means: str = ""
    reason: str = ""
    digests: Mapping[str, str] | None = None


@dataclass(frozen=True)
class AuditLog:
    """What the tags of a registered model say.

    Attributes:
        entries: In the order of the chain: each after all that it descends from. Those that know
            nothing of each other are ordered by digest.
        problems: Where the chain is broken, one sentence each; empty: it is complete.
        digests: Of the entries, in their order.
        heads: Digests of the entries that no other names.
    """

    entries: tuple[AuditEntry, ...] = ()
    problems: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    _places: Mapping[str, int] = field(default_factory=dict, repr=False)
    # By entry, a bit for each that it descends from: 2,000 entries take half a megabyte.
    _before: tuple[int, ...] = field(default=(), repr=False)

    def of(self, uri: str) -> tuple[AuditEntry, ...]:
        """Return the entries on one version."""
        return tuple(entry for entry in self.entries if entry.uri == uri)

    def descends(self, later: str, earlier: str) -> bool:
        """Return whether an entry was written in the knowledge of another, both by digest."""
        place = self._places.get(earlier)
        return place is not None and bool(self._before[self._places[later]] >> place & 1)

    def before(self, digest: str) -> AuditLog:
        """Return the log as it stood where an entry was written: all that it descends from."""
        known = self._before[self._places[digest]]
        return _chained(
            {
                each: entry
                for place, (each, entry) in enumerate(zip(self.digests, self.entries, strict=True))
                if known >> place & 1
            }
        )


def read(tags: Mapping[str, str]) -> AuditLog:
    """Return the log that the tags of a registered model hold, with what is wrong with it.

    Whatever the tags hold, nothing is raised: what is no entry is a problem.
    """
    entries: dict[str, AuditEntry] = {}
    problems: list[str] = []
    for key in sorted(tags):
        if not key.startswith(PREFIX):
            continue
        try:
            entry = AuditEntry.loads(tags[key], where=key)
            digest = entry.digest()
            expected = _key(entry, digest)
        except PenstockError as error:
            problems.append(f"An entry cannot be read, {error}")
            continue
        except (ValueError, RecursionError) as error:
            # Numbers, texts and depths that JSON can write and a record cannot.
            problems.append(f"The entry {key} cannot be read: {error!s:.200}.")
            continue
        if key != expected:
            problems.append(
                f"The entry {key} was altered: it says {entry.event} of {entry.uri} by {entry.by}, "
                f"and its digest is {digest}."
            )
        entries[digest] = entry
    for entry in entries.values():
        lost = [digest for digest in entry.previous if digest not in entries]
        if lost:
            problems.append(
                f"What went before {entry.event} of {entry.uri} on {_time(entry)} was altered or "
                f"removed: {', '.join(lost)}."
            )
    return _chained(entries, problems=problems)


def record(
    store: MlflowClient,
    name: str,
    *,
    event: str,
    uri: str,
    actor: Actor,
    facts: Mapping[str, Any] = {},
    there: AuditLog | None = None,
) -> AuditEntry:
    """Add an entry to the log of a registered model, which must exist.

    It names every entry that no other names yet. Where more than 20 were written at once, entries
    that only join them come first.

    Args:
        store: The registry.
        name: The registered model.
        event: What happened.
        uri: The version that it happened to.
        actor: Who did it, and why.
        facts: What else is to be read back.
        there: The log as it was read just now; None reads it.

    Raises:
        MlflowException: If the store does not take it.
    """
    heads = (there or read(store.get_registered_model(name).tags)).heads
    while len(heads) > _HEADS:
        joined = _put(
            store,
            name,
            AuditEntry(
                time=datetime.now(UTC),
                event=_JOINED,
                uri=f"models:/{name}",
                by=CONTROLLER,
                reason="More entries were written at once than one entry can name.",
                previous=heads[:_HEADS],
            ),
        )
        heads = (*heads[_HEADS:], joined.digest())
    return _put(
        store,
        name,
        AuditEntry(
            time=datetime.now(UTC),
            event=event,
            uri=uri,
            by=actor.name[:200],
            means=actor.means,
            reason=actor.reason[:_REASON_LENGTH],
            digests=dict(actor.digests or {}),
            facts=dict(facts),
            previous=heads,
        ),
    )


def actor_of(entry: AuditEntry) -> str:
    """Return who wrote an entry and how that is known: `ann (stated)`, `canary (automatic)`.

    Entries of earlier releases get the present names; the entries themselves stay as they are.
    """
    name = _FORMER.get(entry.by, entry.by)
    return f"{name} ({_FORMER.get(entry.means, entry.means)})" if entry.means else name


def compact(record: AuditEntry | Any) -> str:
    """Return a record as JSON on one line, as a tag holds it."""
    from penstock.common import files

    return files.canonical_json(record.payload())


def _put(store: MlflowClient, name: str, entry: AuditEntry) -> AuditEntry:
    while len(text := compact(entry)) > VALUE_LENGTH and entry.reason:
        # A control character takes six characters in JSON.
        entry = entry.model_copy(update={"reason": entry.reason[: len(entry.reason) // 2]})
    store.set_registered_model_tag(name, _key(entry, entry.digest()), text)
    return entry


def _chained(entries: Mapping[str, AuditEntry], *, problems: Iterable[str] = ()) -> AuditLog:
    """Put entries in the order of their chain. It has no circle: each digest covers those named."""
    named = {
        digest: {each for each in entry.previous if each in entries}
        for digest, entry in entries.items()
    }
    followers: dict[str, list[str]] = {digest: [] for digest in entries}
    for digest, previous in named.items():
        for each in previous:
            followers[each].append(digest)
    left = {digest: len(previous) for digest, previous in named.items()}
    ready = [digest for digest, count in left.items() if count == 0]
    heapq.heapify(ready)
    places: dict[str, int] = {}
    before: list[int] = []
    while ready:
        digest = heapq.heappop(ready)
        known = 0
        for each in named[digest]:
            known |= before[places[each]] | 1 << places[each]
        places[digest] = len(before)
        before.append(known)
        for follower in followers[digest]:
            left[follower] -= 1
            if left[follower] == 0:
                heapq.heappush(ready, follower)
    return AuditLog(
        entries=tuple(entries[digest] for digest in places),
        problems=tuple(problems),
        digests=tuple(places),
        heads=tuple(digest for digest in places if not followers[digest]),
        _places=places,
        _before=tuple(before),
    )


def _key(entry: AuditEntry, digest: str) -> str:
    short = digest.removeprefix("sha256:")[:8]
    return f"{PREFIX}{entry.time:%Y%m%dT%H%M%S%f}.{short}"


def _time(entry: AuditEntry) -> str:
    return f"{entry.time:%Y-%m-%d %H:%M:%S} UTC"
