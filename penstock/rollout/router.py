"""The interface between a rollout and what carries its traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from penstock.records.rollout import ArmSummary, HistogramBuckets, Pairs

Meanwhile = Callable[[], None]
"""What is called again and again while an action waits."""


def nothing() -> None:
    """Do nothing while an action waits."""


@dataclass(frozen=True)
class Release:
    """A registered version that a router can bring up.

    Attributes:
        version: Its number in the registry.
        uri: `models:/name/version`.
        model: Digest that its folder must have.
        folder: The folder itself, fetched and verified. A router of this machine serves it where
            it lies; a cluster's router takes the artifact from the registry.
        export: Digest that the ONNX form inside the folder must have; empty: there is none, and
            scikit-learn answers.
        fault: The fault to put into its server on purpose; empty: none.
    """

    version: int
    uri: str
    model: str
    folder: Path
    export: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Address:
    """Where requests are sent.

    Attributes:
        url: Scheme, host and port.
        headers: What each request carries besides, to get in and where it is meant to.
        ca_file: Certificates (PEM) that its own is checked against; empty: the system's.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str = ""


@dataclass(frozen=True)
class ExperimentRouting:
    """How an experiment assigns users.

    Attributes:
        identity: The experiment's.
        salt: What users' ids are hashed with.
        header: Header of a request that holds the user's id; without it the stable version answers.
        labels: Whether the predicted labels are written down too.
    """

    identity: str
    salt: str
    header: str
    labels: bool


@dataclass(frozen=True)
class Routing:
    """How requests find their version, besides the weight.

    Attributes:
        mirror: Share of the stable version's requests, 0 to 1, of which the candidate gets a copy
            that nobody sees the answer of.
        sticky_header: Requests with the same value of this header get the same version as long as
            the weight stays; when it rises, some move to the candidate and none back. Empty: none.
        choice_header: A request whose header of this name is `stable` or `candidate` gets that
            version, the candidate only where its weight is above 0. Empty: none.
        grids: Edges of the histograms that `observe` returns.
        experiment: The experiment that assigns users in place of both headers; None: none does.
    """

    mirror: float = 0.0
    sticky_header: str = ""
    choice_header: str = ""
    grids: HistogramBuckets = field(default_factory=HistogramBuckets)
    experiment: ExperimentRouting | None = None


@dataclass(frozen=True)
class ServerCount:
    """How many servers one version has.

    Attributes:
        ready: Now.
        ended: That were ready at an earlier look of this controller and are gone; it only grows.
    """

    ready: int
    ended: int = 0


@dataclass(frozen=True)
class Observation:
    """A reading of a router's counters, which only ever grow.

    Attributes:
        epoch: Another one than before means that the counters began anew (the proxy was
            restarted): nothing is to be subtracted from this reading.
        arms: What each version that is up has answered to requests that were its own.
        pairs: What stable version and candidate answered to mirrored requests, since this
            candidate was brought up.
        blind: Why users' requests that should be in here are not; empty: they are.
        servers: By version, where load scales them.
    """

    epoch: str
    arms: Mapping[int, ArmSummary]
    pairs: Pairs
    blind: str = ""
    servers: Mapping[int, ServerCount] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """How one version's server is.

    Attributes:
        ready: Whether it answers its readiness probe now.
        restarts: Times it was found dead since it was brought up, whether or not it was started
            again.
        memory: Bytes it holds, where that is known.
        reason: Why it is not ready, with the end of its log; empty when it is.
    """

    ready: bool
    restarts: int
    memory: int | None
    reason: str


@dataclass(frozen=True)
class VersionStatus:
    """What one version is doing.

    Attributes:
        version: Its number in the registry.
        role: `stable`, `candidate`, or `retired`: promoted over and not removed yet.
        weight: Its share of new requests, in percent.
        url: Where it alone answers.
        health: How its server is.
    """

    version: int
    role: Literal["stable", "candidate", "retired"]
    weight: int
    url: str
    health: Health


@dataclass(frozen=True)
class ServiceStatus:
    """What one service is doing.

    Attributes:
        service: Its name.
        url: Where it answers.
        running: Whether its stable version is reached there.
        stable: The version that it falls back to, or None.
        weights: Share of new requests by version, in percent.
        versions: Every version that is up, the stable one first.
        logs: Where its logs are, in words.
    """

    service: str
    url: str
    running: bool
    stable: int | None
    weights: Mapping[int, int]
    versions: tuple[VersionStatus, ...]
    logs: str


class Router(Protocol):
    """One service: a stable version, and at most one candidate beside it.

    Every action is idempotent: repeated after a crash of its caller, it leads to the same state.
    Actions on traffic return when the new weights are in effect, not when they were requested.
    Every action needs `exclusive()` to be held and raises `LeaseLostError`, without having
    acted, when it is not any more.

    `meanwhile` is called again and again while an action waits for servers, with the traffic as it
    was before; what it raises ends the action there.
    """

    @property
    def url(self) -> str:
        """Where users reach the service, whatever version answers."""
        ...

    @property
    def stable(self) -> int | None:
        """The version that the service falls back to, or None before the first release."""
        ...

    @property
    def stable_model(self) -> str:
        """The digest of that version's folder; empty before the first release."""
        ...

    @property
    def candidate(self) -> int | None:
        """The version that is brought up beside it, or None."""
        ...

    @property
    def weight(self) -> int:
        """The candidate's share of new requests, in percent."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the service's lease, which is renewed until the block ends, and first mend it.

        Raises:
            ServiceError: If another controller holds the lease and it has not expired.
        """
        ...

    def open(self) -> None:
        """Make sure that the service's address is its own and answers; nobody serves there yet.

        Raises:
            ServiceError: If it is in use by somebody else, naming by whom where that is known.
        """
        ...

    def deploy(self, release: Release, *, timeout: float) -> Address:
        """Bring `release` up as the candidate, without traffic; return where it alone answers.

        Returns when it is ready. What serves is not touched. A candidate of another version is
        removed first; a version that is up already is returned as it is.

        Args:
            release: What to bring up.
            timeout: Seconds it may take to become ready.

        Raises:
            ServiceError: If it does not become ready; it is stopped, and the message says why.
        """
        ...

    def route(self, routing: Routing, *, meanwhile: Meanwhile = nothing) -> None:
        """Set mirroring and assignment; returns when it is in effect.

        Where load scales servers, the candidate has those that the copies take before it gets them.

        Raises:
            CapacityError: If it does not get them in time; nothing is mirrored.
        """
        ...

    def set_weight(self, version: int, percent: int, *, meanwhile: Meanwhile = nothing) -> None:
        """Give the candidate `percent` of new requests, and the stable version the rest.

        Where load scales servers, the candidate has those that its share takes before it gets it.

        Raises:
            CapacityError: If it does not get them in time; no traffic is moved.
        """
        ...

    def observe(self) -> Observation:
        """Return what each version that is up has done so far."""
        ...

    def health(self, version: int) -> Health:
        """Return how one version's server is. Never raises for a server that is dead."""
        ...

    def log(self, version: int) -> str:
        """Return the end of the log of one version's server; empty where none can be had."""
        ...

    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        """Send prediction requests at a steady rate until the block ends; `observe` counts them.

        Args:
            bodies: KServe v1 requests, sent in turn, over and over.
            rate: Requests a second.
        """
        ...

    def mend(self) -> None:
        """Start again what has died and should run: proxy, stable version, candidate."""
        ...

    def promote(self, version: int, *, insist: bool = True, meanwhile: Meanwhile = nothing) -> None:
        """Make the candidate the stable version, with all traffic.

        The one before stays up without traffic until `clean_up`, so that `rollback` is one action.

        Args:
            version: The candidate.
            insist: Whether it must have the servers that all requests take.
            meanwhile: Called while they are waited for.

        Raises:
            CapacityError: If it must, and does not get them in time; no traffic is moved.
        """
        ...

    def rollback(self, version: int) -> None:
        """Take all traffic from `version` and give it back to the stable version before it.

        `version` is the candidate, or the stable version if it was promoted and not cleaned up.
        Mirroring ends too.
        """
        ...

    def clean_up(self) -> None:
        """Remove every version that has no traffic, once it has answered what it accepted.

        A candidate that is in its shadow phase has none either: call it when a rollout has ended.
        """
        ...
