"""The request log: who sent a request, and the metrics, rows and files that its answer goes to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.processes.supervised import Supervised
from penstock.serving.capture import Capture, Rows
from penstock.serving.feedback import Memory
from penstock.serving.feedback_access import FeedbackAccess
from penstock.serving.metrics import ServingMetrics
from penstock.serving.request_headers import (
    MIRROR,
    REPLAY,
    SMOKE,
    RolloutKey,
    new_request_id,
    request_id_of,
)
from penstock.serving.service import Outcome

Headers = Mapping[bytes, bytes]

_MIRROR, _REPLAY, _SMOKE = MIRROR.encode(), REPLAY.encode(), SMOKE.encode()


@dataclass
class RequestContext:
    """One request while it is answered.

    Attributes:
        request_id: As the client gave it, or made.
        mirrored: Whether it is a copy of a request that another version answers.
        replayed: Whether a rollout sent it rather than a user.
        smoke: Whether it is the release step's own probe.
        protocol: Of the request; `other` until its path is known.
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
    def of(cls, headers: Headers, *, key: RolloutKey) -> RequestContext:
        """Return the context of a request with these headers; a rollout's must hold its key."""
        return cls(
            request_id=request_id_of(headers.get(b"x-request-id", b"")) or new_request_id(),
            mirrored=key.matches(headers.get(_MIRROR, b"")),
            replayed=key.matches(headers.get(_REPLAY, b"")),
            smoke=key.matches(headers.get(_SMOKE, b"")),
        )

    @property
    def origin(self) -> str:
        """Who sent it, as the metrics' label `origin` has it: live, mirror, replay or smoke."""
        if self.smoke:
            return "smoke"
        if self.mirrored:
            return "mirror"
        return "replay" if self.replayed else "live"


@dataclass
class RequestLog:
    """What is kept of the requests that were answered.

    Attributes:
        metrics: What Prometheus reads.
        memory: The rows that a label may still come for.
        capture: Where rows are written to; None: nowhere.
        access: Who may send labels.
        rollout_key: Tells the rollout's own requests from others.
        threads: What runs in the background.
    """

    metrics: ServingMetrics
    memory: Memory
    capture: Capture | None = None
    access: FeedbackAccess = field(default_factory=FeedbackAccess)
    rollout_key: RolloutKey = field(default_factory=RolloutKey)
    threads: list[Supervised] = field(default_factory=list)

    @property
    def broken(self) -> str:
        """The name of a thread that failed for good; empty: all run."""
        return next((thread.name for thread in self.threads if thread.down), "")

    def watch(self, thread: Supervised) -> None:
        """Show a thread's failures in the metrics and in readiness."""
        self.threads.append(thread)
        self.metrics.watch(thread)

    def record(self, context: RequestContext, outcome: Outcome, *, version: str) -> None:
        """Record an answer before it is sent, so that a label cannot come before it."""
        self.metrics.scored(
            outcome.scores,
            outcome.labels,
            origin=context.origin,
            missing=outcome.batch.missing,
            unseen=outcome.batch.unseen,
        )
        if context.origin == "smoke":
            return
        scores, mirrored = outcome.scores.tolist(), context.mirrored
        self.memory.add(context.request_id, scores=scores, labels=outcome.labels, mirrored=mirrored)
        if self.capture is not None:
            rows = Rows(
                request_id=context.request_id,
                time=time.time(),
                version=version,
                mirrored=mirrored,
                replayed=context.replayed,
                inputs=outcome.values,
                scores=scores,
                labels=outcome.labels,
            )
            self.capture.rows(rows, size=context.size)
