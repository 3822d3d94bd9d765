"""Which version answers a request: the front's table, replaced as a whole."""

from __future__ import annotations

import hashlib
import random
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.rollout.routers.tally import Edges, PairTally, Tally, edges_of

# A draw that spreads load; nothing is kept secret by it.
_random = random.Random()  # noqa: S311

_VERSION = re.compile(r"/versions/([^/:]+)(?:[/:]|$)")


@dataclass(eq=False)
class Arm:
    """One version behind the front."""

    role: str
    version: int
    identity: str
    port: int
    tally: Tally = field(default_factory=Tally)
    in_flight: int = 0


@dataclass(frozen=True)
class Table:
    """Arms, weight and assignment.

    Attributes:
        arms: The arms by role: `stable`, `candidate`, `retired`.
        weight: The candidate's share of requests, in percent.
        mirror: Share of the stable version's requests that the candidate gets a copy of.
        sticky_header: Header whose value decides on the version; empty: none.
        choice_header: Header that names the version; empty: none.
        edges: Of the histograms.
        pairs: Counters of mirrored requests.
        epoch: Another one means that all counters began anew.
    """

    arms: Mapping[str, Arm] = field(default_factory=dict)
    weight: int = 0
    mirror: float = 0.0
    sticky_header: str = ""
    choice_header: str = ""
    edges: Edges = field(default_factory=Edges)
    pairs: PairTally = field(default_factory=PairTally)
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))

    def choose(self, headers: Mapping[str, str]) -> Arm | None:
        """Return the arm that answers a request with these headers; None: there is none."""
        stable, candidate = self.arms.get("stable"), self.arms.get("candidate")
        if candidate is None or self.weight == 0:
            return stable
        if stable is None:
            return candidate
        if self.choice_header:
            chosen = headers.get(self.choice_header)
            if chosen in ("stable", "candidate"):
                return self.arms[chosen]
        return candidate if self._point(headers, candidate) < self.weight else stable

    def named(self, path: str) -> Arm | None:
        """Return the arm of the version that a path names, if it has traffic; None: it names none.

        The other version would answer 404 to it.
        """
        found = _VERSION.search(path)
        if found is None:
            return None
        roles = ("stable", "candidate") if self.weight > 0 else ("stable",)
        arms = [self.arms[role] for role in roles if role in self.arms]
        return next((arm for arm in arms if str(arm.version) == found[1]), None)

    def instead_of(self, arm: Arm) -> Arm | None:
        """Return the arm that may answer what `arm` could not be asked; None: there is none."""
        if arm.role == "candidate":
            return self.arms.get("stable")
        return self.arms.get("candidate") if arm.role == "stable" and self.weight > 0 else None

    def mirrored(self, arm: Arm) -> bool:
        """Return whether the candidate is to get a copy of a request that `arm` answers."""
        wanted = self.mirror > 0 and arm.role == "stable" and "candidate" in self.arms
        return wanted and _random.random() < self.mirror

    def replaced(self, given: Mapping[str, Any]) -> Table:
        """Return the table that `given` describes; what stays the same keeps its counters."""
        routing = given["routing"]
        edges = edges_of(routing["grids"])
        kept = edges == self.edges
        known = {arm.identity: arm for arm in self.arms.values()} if kept else {}
        arms = {fields["role"]: _arm(fields, known) for fields in given["arms"]}
        now, before = arms.get("candidate"), self.arms.get("candidate")
        same = kept and (now is None or (before and now.identity == before.identity))
        return Table(
            arms=arms,
            weight=given["weight"],
            mirror=routing["mirror"],
            sticky_header=routing["sticky_header"],
            choice_header=routing["choice_header"],
            edges=edges,
            pairs=self.pairs if same else PairTally(),
            epoch=self.epoch if kept else secrets.token_hex(8),
        )

    def counts(self) -> dict[str, Any]:
        """Return table and counters, JSON-ready."""
        return {
            "epoch": self.epoch,
            "weight": self.weight,
            "arms": [
                {
                    "role": arm.role,
                    "version": arm.version,
                    "identity": arm.identity,
                    "port": arm.port,
                    "in_flight": arm.in_flight,
                    "counts": arm.tally.counts(),
                }
                for arm in self.arms.values()
            ],
            "pairs": self.pairs.counts(),
        }

    def _point(self, headers: Mapping[str, str], candidate: Arm) -> float:
        """Return where in [0, 100) a request lies; the candidate gets what is below its weight."""
        value = headers.get(self.sticky_header) if self.sticky_header else None
        if value is None:
            return _random.random() * 100
        # By version too, lest the same clients be the first to meet every candidate.
        text = f"{candidate.version}:{value}".encode(errors="surrogateescape")
        drawn = hashlib.blake2b(text, digest_size=8).digest()
        return int.from_bytes(drawn) / 2**64 * 100


def _arm(fields: Mapping[str, Any], known: Mapping[str, Arm]) -> Arm:
    arm = known.get(fields["identity"])
    if arm is None:
        return Arm(**fields)
    # Requests under way hold on to the arm, so it is changed and not made anew.
    arm.role, arm.port = fields["role"], fields["port"]
    return arm
