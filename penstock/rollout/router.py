"""The interface between a rollout and what carries its traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Release:
    """A registered version that a router can bring up.

    Attributes:
        version: Its number in the registry.
        uri: `models:/name/version`.
        model: Digest that its folder must have.
        folder: The folder itself, fetched and verified. A router of this machine serves it where
            it lies; a cluster's router takes the artifact from the registry.
    """

    version: int
    uri: str
    model: str
    folder: Path


@dataclass(frozen=True)
class ArmCounts:
    """What one version has done since it was brought up.

    Attributes:
        version: The version.
        weight: Its share of new requests, in percent.
        requests: Requests given to it, whatever came of them.
        client_errors: Answers with a 4xx status.
        server_errors: Answers with a 5xx status, and requests it left without an answer.
        unreachable: Requests it could not be given because no connection came about.
        in_flight: Requests it is working on.
    """

    version: int
    weight: int
    requests: int
    client_errors: int
    server_errors: int
    unreachable: int
    in_flight: int


class Router(Protocol):
    """One service: a stable version, and at most one candidate beside it.

    Every action is idempotent: repeated after a crash of its caller, it leads to the same state.
    Actions on traffic return when the new weights are in effect, not when they were asked for.
    """

    @property
    def url(self) -> str:
        """Where users reach the service, whatever version answers."""
        ...

    @property
    def stable(self) -> int | None:
        """The version that the service falls back to, or None before the first release."""
        ...

    def deploy(self, release: Release, *, timeout: float) -> str:
        """Bring `release` up as the candidate, without traffic; return its own address.

        Returns when it is ready. What serves is not touched. A candidate of another version is
        removed first; a version that is up already is returned as it is.

        Args:
            release: What to bring up.
            timeout: Seconds it may take to become ready.

        Raises:
            ServiceError: If it does not become ready; it is stopped, and the message says why.
        """
        ...

    def set_weight(self, version: int, percent: int) -> None:
        """Give the candidate `percent` of new requests, and the stable version the rest."""
        ...

    def observe(self) -> Mapping[int, ArmCounts]:
        """Return what each version that is up has done so far."""
        ...

    def promote(self, version: int) -> None:
        """Make the candidate the stable version, with all traffic.

        The one before stays up without traffic until `clean_up`, so that `rollback` is one action.
        """
        ...

    def rollback(self, version: int) -> None:
        """Take all traffic from `version` and give it back to the stable version before it.

        `version` is the candidate, or the stable version if it was promoted and not cleaned up.
        """
        ...

    def clean_up(self) -> None:
        """Remove every version that has no traffic, once it has answered what it accepted."""
        ...
