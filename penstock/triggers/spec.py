"""The project file's section on what starts a release by itself."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from penstock.common.durations import Duration, seconds_of
from penstock.records.spec import Spec

ADDRESS = "127.0.0.1:8093"
"""Where events are taken if nothing else is said."""


class TriggerSpec(Spec):
    """What `penstock trigger` listens to and watches, and when it starts the release."""

    listen: str = Field(
        default="",
        description=f"Address to take CloudEvents at, HOST:PORT, port 0 for a free one; empty: "
        f"{ADDRESS} if nothing is watched, else none",
    )
    token: str = Field(
        default="",
        description="What a sender must show as `authorization: Bearer TOKEN`, by reference, 16 "
        "characters at least; needed on an address that other machines reach",
    )
    types: tuple[str, ...] = Field(
        default=(), description="Types of events that are taken; empty: every type"
    )
    watch: tuple[str, ...] = Field(
        default=(),
        description="Folders and prefixes of object stores in which files are dropped; a path of "
        "this machine is relative to this file",
    )
    marker: str = Field(
        default="",
        description="Name or pattern of a file that is written last, like _SUCCESS or *.done: it "
        "alone counts, at once; empty: each file counts once its size and time stay the same",
    )
    every: Duration = Field(default="10s", description="Time between two looks at what is watched")
    quiet: Duration = Field(
        default="60s", description="Time without a new event after which the release starts"
    )
    wait: Duration = Field(
        default="15m", description="Time after the first event after which it starts in any case"
    )
    remember: int = Field(
        default=100_000,
        ge=100,
        description="Events that are remembered, so that one that comes again counts once; as many "
        "may wait for a release",
    )
    submit: bool = Field(
        default=False, description="Whether the release runs on Kubeflow instead of this machine"
    )

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, text: str) -> str:
        if text:
            address_of(text)
        return text

    @model_validator(mode="after")
    def _waits_long_enough(self) -> TriggerSpec:
        if seconds_of(self.wait) < seconds_of(self.quiet):
            raise ValueError(f"wait ({self.wait}) must not be shorter than quiet ({self.quiet})")
        if "/" in self.marker:
            raise ValueError(f"marker is the name of a file, not a path, got {self.marker!r}")
        return self

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on; None: it does not listen."""
        if self.listen:
            return address_of(self.listen)
        return None if self.watch else address_of(ADDRESS)


def address_of(text: str) -> tuple[str, int]:
    """Return the host and the port of an address to listen on.

    Raises:
        ValueError: If it is none.

    Example:
        >>> address_of("[::1]:8093")
        ('::1', 8093)
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None or parts.netloc != text or "@" in text:
        raise ValueError(f"{text!r} is not an address: write HOST:PORT, like {ADDRESS}")
    return host, port
