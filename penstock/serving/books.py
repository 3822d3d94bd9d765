"""What is kept of a request: who asked, and the figures, rows and files its answer goes to."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.processes.supervised import Supervised
from penstock.serving.capture import Capture, Rows
from penstock.serving.feedback import Memory
from penstock.serving.feedback_access import FeedbackAccess
from penstock.serving.ids import request_id_of
from penstock.serving.marks import MIRROR, REPLAY, SMOKE, Marks
from penstock.serving.meters import Meters
from penstock.serving.service import Outcome

Headers = Mapping[bytes, bytes]

_MIRROR, _REPLAY, _SMOKE = MIRROR.encode(), REPLAY.encode(), SMOKE.encode()


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
    def of(cls, headers: Headers, *, marks: Marks) -> Exchange:
        """Return the exchange that a request's headers begin; a mark must be genuine."""
        return cls(
            request_id=request_id_of(headers.get(b"x-request-id", b"")) or uuid.uuid4().hex,
            mirrored=marks.genuine(headers.get(_MIRROR, b"")),
            replayed=marks.genuine(headers.get(_REPLAY, b"")),
            smoke=marks.genuine(headers.get(_SMOKE, b"")),
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
        gate: Lets labels in.
        marks: Tells the rollout's own requests from others.
        threads: What runs in the background.
    """

    meters: Meters
    memory: Memory
    capture: Capture | None = None
    access: FeedbackAccess = field(default_factory=FeedbackAccess)
    marks: Marks = field(default_factory=Marks)
    threads: list[Supervised] = field(default_factory=list)

    @property
    def broken(self) -> str:
        """The name of a thread that failed for good; empty: all run."""
        return next((thread.name for thread in self.threads if thread.down), "")

    def watch(self, thread: Supervised) -> None:
        """Have a thread's failures show in the figures and in readiness."""
        self.threads.append(thread)
        self.meters.watch(thread)

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
