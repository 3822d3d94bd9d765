"""Which version is the champion, and whether the trail agrees with the registry's alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock.records.evidence import AuditEntry
from penstock.registry import audit

if TYPE_CHECKING:
    from mlflow import MlflowClient

VERSION, BEFORE, DONE = "champion", "before", "done"
"""Facts of an entry that moves the champion: where to, from where, and whether the alias was seen
there. An entry is written before the alias moves, and a second one once it has."""

_REMEDY = "penstock audit --champion VERSION --reason TEXT"


@dataclass(frozen=True)
class Standing:
    """What the alias says and what the trail says.

    Attributes:
        version: The version that carries the alias; None: none does.
        problem: Why that cannot be believed; empty: it can.
        note: What a reader should know although it is no problem.
    """

    version: int | None
    problem: str = ""
    note: str = ""


def standing(tags: Mapping[str, str], *, alias: int | None, kept: bool) -> Standing:
    """Compare the alias with the trail.

    Args:
        tags: Of the registered model.
        alias: The version that carries the alias `champion`.
        kept: Whether that version was registered by a release that keeps a trail.
    """
    moves = [entry for entry in audit.read(tags).entries if VERSION in entry.facts]
    if not moves:
        return _untold(alias, kept=kept)
    last = moves[-1]
    told, before = last.facts[VERSION], last.facts.get(BEFORE)
    if alias == told:
        return Standing(alias)
    if alias == before and not last.facts.get(DONE):
        note = f"A move of the champion to version {told} was begun on {_when(last)} and not done."
        return Standing(alias, note=note)
    if alias is None:
        problem = (
            f"version {told} was made the champion on {_when(last)} by {last.by}, but no version "
            "carries the alias champion: it was removed by hand"
        )
        return Standing(None, problem)
    return Standing(
        alias,
        f"the alias champion names version {alias}, but the trail made version {told} the champion "
        f"on {_when(last)}: the alias was moved by hand",
    )


def remedy(name: str) -> str:
    """Return what puts the champion right."""
    return f"Look at: penstock audit --model {name}. Put it right with: {_REMEDY} --model {name}"


def begin(
    store: MlflowClient,
    name: str,
    *,
    version: int,
    before: int | None,
    event: str,
    word: audit.Word,
) -> None:
    """Write down that the champion is about to move."""
    facts = {VERSION: version, BEFORE: before}
    audit.write(store, name, event=event, uri=f"models:/{name}/{version}", word=word, facts=facts)


def confirm(store: MlflowClient, name: str, *, version: int, before: int | None) -> None:
    """Write down that the champion has moved, unless that is there."""
    moves = [
        entry
        for entry in audit.read(store.get_registered_model(name).tags).entries
        if VERSION in entry.facts
    ]
    if not moves or moves[-1].facts[VERSION] != version or moves[-1].facts.get(DONE):
        return
    last = moves[-1]
    audit.write(
        store,
        name,
        event="champion moved",
        uri=f"models:/{name}/{version}",
        word=audit.Word(by=last.by, means=last.means, reason="The alias names it now."),
        facts={VERSION: version, BEFORE: before, DONE: True},
    )


def _untold(alias: int | None, *, kept: bool) -> Standing:
    if alias is None:
        return Standing(None)
    if kept:
        return Standing(
            alias,
            f"the alias champion names version {alias}, but no promotion is in the trail: the "
            "alias was set by hand, or the trail was removed",
        )
    return Standing(
        alias,
        note=f"Version {alias} became champion before a trail was kept: the alias is believed.",
    )


def _when(entry: AuditEntry) -> str:
    return f"{entry.time:%Y-%m-%d %H:%M:%S} UTC"
