"""What is kept of a request: who asked, and the figures, rows and files its answer goes to."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.serving.capture import Capture, Rows
from penstock.serving.feedback import Memory
from penstock.serving.meters import Meters
from penstock.serving.service import Outcome

Headers = Mapping[bytes, bytes]

SMOKE_AGENT = b"penstock-smoke"
"""The user-agent of the release step's own probe, which is neither captured nor remembered."""


@dataclass
class Exchange:
    """One request while it is answered.

    Attributes:
        request_id: As the client gave it, or made.
        mirrored: Whether it is a copy of a request that another version answers.
        replayed: Whether a rollout sent it rather than a user.
        smoke: Whether it is the release step's own probe.
        protocol: What it speaks; `other` until its path is known.
        status: The status that it is answered with.
        size: Bytes of its body.
    """

    request_id: str
    mirrored: bool = False
    replayed: bool = False
    smoke: bool = False
    protocol: str = "other"
    status: int = 500
    size: int = 0
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, headers: Headers) -> Exchange:
        """Return the exchange that a request's headers begin."""
        return cls(
            request_id=_request_id(headers.get(b"x-request-id", b"")),
            mirrored=headers.get(b"x-penstock-mirror") == b"1",
            replayed=headers.get(b"x-penstock-replay") == b"1",
            smoke=headers.get(b"user-agent") == SMOKE_AGENT,
        )

    @property
    def origin(self) -> str:
        """Whose request it is, as the figures tell them apart."""
        if self.smoke:
            return "smoke"
        if self.mirrored:
            return "mirror"
        return "replay" if self.replayed else "live"


@dataclass
class Books:
    """What is kept of the requests that were answered.

    Attributes:
        meters: The figures.
        memory: The rows that a label may still come for.
        capture: Where rows are written to; None: nowhere.
    """

    meters: Meters
    memory: Memory
    capture: Capture | None = None

    def enter(self, exchange: Exchange, outcome: Outcome, *, version: str) -> None:
        """Note an answer before it is sent, so that a label cannot come before it."""
        self.meters.scored(
            outcome.scores,
            outcome.labels,
            origin=exchange.origin,
            missing=outcome.batch.missing,
            unseen=outcome.batch.unseen,
        )
        if exchange.origin == "smoke":
            return
        scores, mirrored = outcome.scores.tolist(), exchange.mirrored
        self.memory.add(
            exchange.request_id, scores=scores, labels=outcome.labels, mirrored=mirrored
        )
        if self.capture is not None:
            rows = Rows(
                request_id=exchange.request_id,
                time=time.time(),
                version=version,
                mirrored=mirrored,
                replayed=exchange.replayed,
                inputs=outcome.values,
                scores=scores,
                labels=outcome.labels,
            )
            self.capture.rows(rows, size=exchange.size)


def _request_id(given: bytes) -> str:
    """Return the client's id if it is printable ASCII of at most 128 characters, else a new one."""
    if 0 < len(given) <= 128 and given.isascii():
        text = given.decode("ascii")
        if text.isprintable():
            return text
    return uuid.uuid4().hex
