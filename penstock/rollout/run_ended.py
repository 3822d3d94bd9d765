"""How a run on Kubeflow ended: written down by the step that decides it, told by the exit handler.

An exit handler sees no output of other steps, and of Kubeflow no cause. So `deploy` and `fail`
write the end into MLflow (`registry.run_ends`), and `notify` alone tells people, once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.common import progress
from penstock.errors import PenstockError
from penstock.notification import Cause, Message, NotifySpec, cause_of, deliver
from penstock.records.decision import Decision
from penstock.records.release import Registration
from penstock.records.rollout import Rollout
from penstock.records.run_end import IN_WORDS, Outcome, RunEnd
from penstock.redaction import redact
from penstock.registry.run_ends import RunEnds
from penstock.rollout.notices import page_of
from penstock.rollout.words import headline

CALLER_NOTIFIES = "PENSTOCK_CALLER_NOTIFIES"
"""Environment variable, set to 1 by a command that runs a pipeline on this machine: it knows how
the run ended, and tells people itself."""

_SUCCEEDED = ("SUCCEEDED", "COMPLETE")
"""What kfp's documents call it, and what Kubeflow 2.17 says: its metadata store's word."""

_UNKNOWN = (
    "Kubeflow says that it succeeded, but no step has written down that a version was promoted"
)
_FAILED = (
    "A step of it ended with an error, or the run was ended; Kubeflow shows which step, and its log"
)


def note_end(
    outcome: Outcome,
    *,
    reason: str,
    name: str,
    run: str,
    tracking_uri: str,
    version: int | None = None,
) -> None:
    """Write down how a run ended, for its exit handler; never fail.

    Args:
        outcome: How.
        reason: Why, in sentences.
        name: The project; empty: nothing is written.
        run: Kubeflow's id of the run; empty: nothing is written.
        tracking_uri: The MLflow store.
        version: The registered version, if there is one.
    """
    if not (name and run) or _caller_notifies():
        return
    end = RunEnd(outcome=outcome, reason=redact(reason), version=version, time=datetime.now(UTC))
    try:
        RunEnds(name, tracking_uri=tracking_uri).write(run, end)
    except PenstockError as error:
        progress.say(f"how the run ended could not be written down: {error}")


def note_release(rollout: Rollout, decision: Decision, *, run: str, tracking_uri: str) -> None:
    """Write down that a run ended with a promotion, if it did; never fail.

    Args:
        rollout: What the release came to.
        decision: The decision that let it in.
        run: Kubeflow's id of the run; empty: nothing is written.
        tracking_uri: The MLflow store.
    """
    if rollout.outcome == "promoted":
        note_end(
            "released",
            reason=f"{decision.reason()} {headline(rollout)}",
            name=rollout.service,
            run=run,
            tracking_uri=tracking_uri,
            version=rollout.candidate,
        )


@contextlib.contextmanager
def noting_error(
    step: str, registration: Registration, *, run: str, tracking_uri: str
) -> Iterator[None]:
    """Write down the error that ends the block, for the run's exit handler, and raise it again.

    Kubeflow has no error for an exit handler. A step that is tried again and does its work writes
    over it.

    Args:
        step: The step whose work the block is.
        registration: The version that it is about.
        run: Kubeflow's id of the run; empty: nothing is written.
        tracking_uri: The MLflow store.
    """
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, PenstockError) else f"{type(error).__name__}: "
        reason = f"Its step {step} ended with an error: {kind}{error}"
        note_end(
            "failed",
            reason=reason,
            name=registration.name,
            run=run,
            tracking_uri=tracking_uri,
            version=registration.version,
        )
        raise


def note_refusal(
    reason: str, *, evidence: Path | None, name: str, run: str, tracking_uri: str
) -> str:
    """Write down that a run ended without a release, and return why.

    Args:
        reason: What happened, in a sentence.
        evidence: The record that says why, if there is one.
        name: The project; empty: nothing is written.
        run: Kubeflow's id of the run; empty: nothing is written.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If the evidence is none of the records that end a run.
    """
    found = cause_of(evidence) if evidence else Cause("refused", "")
    why = f"{reason} {found.reason}".strip()
    note_end(
        found.outcome,
        reason=why,
        name=name,
        run=run,
        tracking_uri=tracking_uri,
        version=found.version,
    )
    return why


def notify_of_end(
    state: str, *, name: str, run: str, notify: Mapping[str, Any], tracking_uri: str, error: str
) -> None:
    """Notify people of how a run ended, once, and say it; never fail for a store or a place.

    Args:
        state: What Kubeflow says: SUCCEEDED or COMPLETE, FAILED, CANCELLED.
        name: The project.
        run: Kubeflow's id of the run.
        notify: Fields of the section `notify`.
        tracking_uri: The MLflow store.
        error: Kubeflow's message, where it has one.

    Raises:
        InputError: If the fields are not the section's.
    """
    places = NotifySpec.parse(dict(notify), where="notify")
    if _caller_notifies():
        progress.say("whoever runs it here notifies people")
        return
    try:
        ends: RunEnds | None = RunEnds(name, tracking_uri=tracking_uri)
        end = ends.read(run) if ends else None
        doubt = ""
    except PenstockError as problem:
        ends, end, doubt = None, None, f" What its steps wrote cannot be read: {problem}"
    if end is not None and end.notified:
        progress.say("people were notified already")
        return
    if end is not None and end.outcome == "failed" and state in _SUCCEEDED:
        # Of an attempt at a step that another one made good, and could not write down.
        end = None
    end = end or _unwritten(state, error=error, doubt=doubt)
    message = _message(end, name=name, run=run, tracking_uri=tracking_uri)
    for lost in deliver(message, to=places, folder=Path()):
        progress.say(lost)
    _note_notified(ends, run, end)
    progress.say(message.text)


def _caller_notifies() -> bool:
    return os.environ.get(CALLER_NOTIFIES, "") == "1"


def _unwritten(state: str, *, error: str, doubt: str) -> RunEnd:
    """Return how a run ended of which no step has written that, or none that can be read."""
    now = datetime.now(UTC)
    if state in _SUCCEEDED and doubt:
        return RunEnd(outcome="released", reason=f"Kubeflow says so.{doubt}", time=now)
    why = _UNKNOWN if state in _SUCCEEDED else error.rstrip(".") or _FAILED
    ended = "" if state in (*_SUCCEEDED, "FAILED") else f" It ended as {state or 'unknown'}."
    return RunEnd(outcome="failed", reason=redact(f"{why}.{ended}{doubt}"), time=now)


def _message(end: RunEnd, *, name: str, run: str, tracking_uri: str) -> Message:
    page = page_of(name, end.version, tracking_uri=tracking_uri)
    link = f" Page: {page}" if page else ""
    return Message(
        identity="-".join(filter(None, (name, run, end.outcome))),
        event=end.outcome,
        service=name,
        text=f"{name}: {IN_WORDS[end.outcome]}. {end.reason.rstrip('.')}. "
        f"Run of Kubeflow: {run}.{link}",
        time=end.time,
        data={"run": run, "version": end.version},
        origin="release",
    )


def _note_notified(ends: RunEnds | None, run: str, end: RunEnd) -> None:
    """Keep that people were notified: an exit handler that is tried again tells nobody again."""
    if ends is None:
        return
    try:
        ends.write(run, end.model_copy(update={"notified": True}))
        ends.prune()
    except PenstockError as error:
        progress.say(f"it could not be noted that people were notified: {error}")
