"""The routing table: which version answers a request. It is replaced as a whole."""

from __future__ import annotations

import hashlib
import random
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.rollout.proxy.events import EventSink
from penstock.rollout.proxy.experiment import Experiment, experiment_of
from penstock.rollout.proxy.stats import Buckets, PairStats, Stats, buckets_of
from penstock.rollout.proxy.upstream import LOOPBACK, Address

# A draw that spreads load; nothing is kept secret by it.
_random = random.Random()  # noqa: S311

_ROLES = frozenset({"stable", "candidate", "retired"})
_VERSION = re.compile(r"/versions/([^/:]+)(?:[/:]|$)")


@dataclass
class Load:
    """The requests under way at one version, whatever tables chose it."""

    requests: int = 0


@dataclass(eq=False)
class Arm:
    """One version behind the proxy, as one table has it; `stats` and `load` go from table to table.

    Attributes:
        role: `stable`, `candidate` or `retired`.
        version: Its number in the registry.
        identity: Another one each time that the version is brought up.
        port: Where it answers.
        host: On which host; that of this machine itself where none is named.
        stats: What it answered since the counters began.
        load: What it has not answered yet.
    """

    role: str
    version: int
    identity: str
    port: int
    host: str = LOOPBACK
    stats: Stats = field(default_factory=Stats)
    load: Load = field(default_factory=Load)

    @property
    def address(self) -> Address:
        """Where it answers."""
        return self.host, self.port


@dataclass(frozen=True)
class RoutingTable:
    """Arms, weight and assignment.

    Attributes:
        arms: The arms by role: `stable`, `candidate`, `retired`.
        weight: The candidate's share of requests, in percent.
        mirror: Share of the stable version's requests that the candidate gets a copy of.
        sticky_header: Header whose value decides on the version; empty: none.
        choice_header: Header that names the version; empty: none.
        edges: Bucket edges of the histograms.
        pairs: Stats of mirrored requests.
        epoch: Changes when all counters restart from zero.
        experiment: The experiment that goes on, which assigns users in place of `sticky_header`.
    """

    arms: Mapping[str, Arm] = field(default_factory=dict)
    weight: int = 0
    mirror: float = 0.0
    sticky_header: str = ""
    choice_header: str = ""
    edges: Buckets = field(default_factory=Buckets)
    pairs: PairStats = field(default_factory=PairStats)
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    experiment: Experiment | None = None

    def choose(self, headers: Mapping[str, str]) -> Arm | None:
        """Return the arm that answers a request with these headers; None: there is none."""
        stable, candidate = self.arms.get("stable"), self.arms.get("candidate")
        if candidate is None or self.weight == 0:
            return stable
        if stable is None:
            return candidate
        if self.experiment is not None:
            user = self.experiment.user(headers)
            return candidate if user is not None and user.point < self.weight else stable
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
        """Return the arm that may answer what `arm` could not be sent; None: there is none."""
        if arm.role == "candidate":
            return self.arms.get("stable")
        return self.arms.get("candidate") if arm.role == "stable" and self.weight > 0 else None

    def running(self) -> Experiment | None:
        """Return the experiment whose arms both answer users now; None: there is none."""
        if self.experiment is None or self.weight == 0:
            return None
        return self.experiment if {"stable", "candidate"} <= self.arms.keys() else None

    def mirrored(self, arm: Arm) -> bool:
        """Return whether the candidate is to get a copy of a request that `arm` answers."""
        mirroring = self.mirror > 0 and arm.role == "stable" and "candidate" in self.arms
        return mirroring and _random.random() < self.mirror

    def replaced(
        self, given: Mapping[str, Any], *, events: EventSink | None = None
    ) -> RoutingTable:
        """Return the table that `given` describes; this one and its arms stay as they are.

        What stays the same keeps its counters.

        Args:
            given: The table.
            events: What takes the events of an experiment; None: the file that the table names.

        Raises:
            LookupError, TypeError, ValueError: If a field is missing, or is not what it must be.
        """
        routing = given["routing"]
        edges = _numbers(buckets_of(routing["grids"]))
        kept = edges == self.edges
        known = {arm.identity: arm for arm in self.arms.values()}
        arms = _by_role([_arm(fields, known, counted=kept) for fields in given["arms"]])
        now, before = arms.get("candidate"), self.arms.get("candidate")
        same = kept and (now is None or (before and now.identity == before.identity))
        return RoutingTable(
            arms=arms,
            weight=_whole(given["weight"], 0, 100, what="a weight"),
            mirror=_share(routing["mirror"]),
            sticky_header=_text(routing["sticky_header"]),
            choice_header=_text(routing["choice_header"]),
            edges=edges,
            pairs=self.pairs if same else PairStats(),
            epoch=self.epoch if kept else secrets.token_hex(8),
            experiment=experiment_of(routing.get("experiment"), self.experiment, events=events),
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
                    "in_flight": arm.load.requests,
                    "counts": arm.stats.counts(),
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


def _arm(fields: Mapping[str, Any], known: Mapping[str, Arm], *, counted: bool) -> Arm:
    arm = Arm(
        role=_text(fields["role"]),
        version=_whole(fields["version"], 0, 2**53, what="a version"),
        identity=_text(fields["identity"]),
        port=_whole(fields["port"], 1, 65_535, what="a port"),
        host=_text(fields.get("host", LOOPBACK)),
    )
    before = known.get(arm.identity)
    if before is not None:
        # Its requests under way are waited for whatever else changes.
        arm.load = before.load
        arm.stats = before.stats if counted else arm.stats
    return arm


def _by_role(arms: Sequence[Arm]) -> dict[str, Arm]:
    found = {arm.role: arm for arm in arms}
    if len(found) < len(arms) or len({arm.identity for arm in arms}) < len(arms):
        raise ValueError("a role or an identity is given twice")
    if not found.keys() <= _ROLES:
        raise ValueError(f"the roles are {sorted(_ROLES)}, not {sorted(found)}")
    return found


def _numbers(edges: Buckets) -> Buckets:
    for value in (*edges.latency, *edges.scores):
        if type(value) not in (int, float):
            raise TypeError(f"bucket edges must be numbers, not {value!r}")
    return edges


def _whole(value: Any, lowest: int, highest: int, *, what: str) -> int:
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{what} must be an integer from {lowest} to {highest}, not {value!r}")
    return value


def _share(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"the mirrored share must be 0 to 1, not {value!r}")
    return float(value)


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value
