"""How a run on Kubeflow ended, written down by the step that decides it.

An exit handler sees no output of other steps, and of Kubeflow no cause. So `deploy` and `fail`
write the end into MLflow (`registry.run_ends`), and `notify` tells people (`rollout.end_notice`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from penstock.common import progress
from penstock.errors import PenstockError
from penstock.records.decision import Decision
from penstock.records.release import Registration
from penstock.records.rollout import Rollout
from penstock.records.run_cause import Cause, cause_of
from penstock.records.run_end import Outcome, RunEnd
from penstock.redaction import redact
from penstock.registry.run_ends import RunEnds
from penstock.rollout.words import headline

CALLER_NOTIFIES = "PENSTOCK_CALLER_NOTIFIES"
"""Environment variable, set to 1 by a command that runs a pipeline on this machine: it knows how
the run ended, and tells people itself."""


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
    if not (name and run) or caller_notifies():
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


def caller_notifies() -> bool:
    """Return whether whoever runs the pipeline notifies people itself."""
    return os.environ.get(CALLER_NOTIFIES, "") == "1"
