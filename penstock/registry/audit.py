"""The trail of a registered model: what happened to it, on whose word, each entry chained.

Entries are tags of the registered model, `penstock.audit.<time>.<first 8 hex of the digest>`. Each
names the digests of the newest entries that were there before it, so one that is altered or removed
later is missed by its successor; an altered newest one does not fit the digest in its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError
from penstock.records.evidence import AuditEntry

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREFIX = "penstock.audit."

VALUE_LENGTH = 5000
"""Characters that MLflow's stores take as a tag's value."""

_REASON_LENGTH = 1000
_HEADS = 20


@dataclass(frozen=True)
class Word:
    """On whose word something is done.

    Attributes:
        by: A person, or the decision and its rules.
        means: How that identity was established; empty where no person is named.
        reason: Why.
        digests: Of the records that it rests on, by kind.
    """

    by: str
    means: str = ""
    reason: str = ""
    digests: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Trail:
    """What the tags of a registered model say.

    Attributes:
        entries: The oldest first.
        problems: Where the chain is broken, one sentence each; empty: it is whole.
    """

    entries: tuple[AuditEntry, ...]
    problems: tuple[str, ...]

    def of(self, uri: str) -> tuple[AuditEntry, ...]:
        """Return the entries on one version."""
        return tuple(entry for entry in self.entries if entry.uri == uri)


def read(tags: Mapping[str, str]) -> Trail:
    """Return the trail that the tags of a registered model hold, with what is wrong with it."""
    entries: dict[str, AuditEntry] = {}
    problems: list[str] = []
    for key in sorted(tags):
        if not key.startswith(PREFIX):
            continue
        try:
            entry = AuditEntry.loads(tags[key], where=key)
        except PenstockError as error:
            problems.append(f"An entry cannot be read, {error}")
            continue
        digest = entry.digest()
        if key != _key(entry, digest):
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
    ordered = sorted(entries.values(), key=lambda entry: entry.time)
    return Trail(entries=tuple(ordered), problems=tuple(problems))


def write(
    store: MlflowClient,
    name: str,
    *,
    event: str,
    uri: str,
    word: Word,
    facts: Mapping[str, Any] = {},
) -> AuditEntry:
    """Add an entry to the trail of a registered model, which must exist.

    Raises:
        MlflowException: If the store does not take it.
    """
    there = read(store.get_registered_model(name).tags).entries
    named = {digest for entry in there for digest in entry.previous}
    heads = [entry.digest() for entry in there if entry.digest() not in named]
    entry = AuditEntry(
        time=datetime.now(UTC),
        event=event,
        uri=uri,
        by=word.by[:200],
        means=word.means,
        reason=word.reason[:_REASON_LENGTH],
        digests=dict(word.digests or {}),
        facts=dict(facts),
        previous=tuple(heads[-_HEADS:]),
    )
    text = compact(entry)
    store.set_registered_model_tag(name, _key(entry, entry.digest()), text)
    return entry


def compact(record: AuditEntry | Any) -> str:
    """Return a record as JSON on one line, as a tag holds it."""
    from penstock import files

    return files.canonical_json(record.payload())


def _key(entry: AuditEntry, digest: str) -> str:
    short = digest.removeprefix("sha256:")[:8]
    return f"{PREFIX}{entry.time:%Y%m%dT%H%M%S%f}.{short}"


def _time(entry: AuditEntry) -> str:
    return f"{entry.time:%Y-%m-%d %H:%M:%S} UTC"
