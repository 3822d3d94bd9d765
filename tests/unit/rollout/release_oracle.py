"""What may serve, by rules of its own: the code under test is not asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

VALID = timedelta(days=7)
"""How long an approval counts."""


@dataclass
class Truth:
    """One version as it really is, whatever the registry is made to say of it."""

    number: int
    files: str
    compared: int | None
    people: int
    policy_kept: bool
    good: bool
    trainer: str
    words: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    altered: set[str] = field(default_factory=set)
    rolled_back: bool = False
    half_said: set[str] = field(default_factory=set)
    """Whose rejection was cut short: the log may tell of it."""

    def objection(self, now: datetime) -> str:
        """Why the decision and people do not let it in; empty: they do."""
        if self.altered:
            return f"its {' and '.join(sorted(self.altered))} were altered"
        if not self.policy_kept:
            return "the policy that may ask people is not there"
        rejecting = [who for who, (said, _) in self.words.items() if said == "rejected"]
        if rejecting:
            return f"{rejecting[0]} rejected it"
        for_it = {
            who
            for who, (said, when) in self.words.items()
            if said == "approved" and now < when + VALID
        }
        if len(for_it) < self.people:
            return f"{len(for_it)} of {self.people} approved it"
        if self.people and not for_it - {self.trainer}:
            return "the trainer alone approved it"
        return ""


@dataclass
class Oracle:
    """What happened so far, and what was wrong with it."""

    versions: dict[int, Truth] = field(default_factory=dict)
    champion: int | None = None
    past: set[int] = field(default_factory=set)
    by_hand: bool = False
    wrong: list[str] = field(default_factory=list)

    def objection(self, version: int, now: datetime, *, mending: bool = False) -> str:
        """Why a version may not be brought to users now; empty: it may."""
        truth = self.versions[version]
        found = truth.objection(now)
        if found or version == self.champion:
            return found
        if self.by_hand and not mending:
            return "somebody moved the champion by hand"
        if truth.compared != self.champion:
            return f"it was compared with {truth.compared}, and {self.champion} is the champion"
        return ""

    def objection_to_return(self, version: int, *, named: bool) -> str:
        """Why nobody may go back to a version; empty: it is free."""
        truth = self.versions[version]
        if version not in self.past and version != self.champion:
            return "it never was the champion"
        if any(said == "rejected" for said, _ in truth.words.values()):
            return "it was rejected"
        if truth.altered:
            return f"its {' and '.join(sorted(truth.altered))} were altered"
        if truth.rolled_back and not named:
            return "it was rolled back"
        return ""

    def crowned(self, version: int, *, let_in: bool) -> None:
        """The alias names it now; by hand, with `audit --champion`, nobody is let in."""
        self.champion = version
        self.versions[version].rolled_back = False
        if let_in:
            self.past.add(version)
        self.by_hand = False


def breaks_of(tags: Mapping[str, str]) -> list[str]:
    """Where an audit log is broken: entries that do not fit their key, or name what is gone."""
    entries = {k: v for k, v in tags.items() if k.startswith("penstock.audit.")}
    digests = {key: hashlib.sha256(text.encode()).hexdigest() for key, text in entries.items()}
    found = [key for key, digest in digests.items() if not key.endswith(digest[:8])]
    there = {f"sha256:{digest}" for digest in digests.values()}
    for key, text in entries.items():
        found += [f"{key} names {p}" for p in json.loads(text)["previous"] if p not in there]
    firsts = [key for key, text in entries.items() if not json.loads(text)["previous"]]
    return found + firsts[1:]
