"""The message on how a run on Kubeflow ended: once at each place, with the cause.

It says what a step has written down (`rollout.run_ended`). Where none has, or one has written an
error, the registry is queried for what became of the run's version before it says that nothing was
released; and where that cannot be known, it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.common import progress
from penstock.errors import PenstockError
from penstock.notification import Message, NotifySpec, deliver, named
from penstock.records.run_end import IN_WORDS, Place, RunEnd, Told
from penstock.redaction import redact
from penstock.registry.by_run import Fate, fate_of
from penstock.registry.run_ends import RunEnds
from penstock.rollout.notices import page_of
from penstock.rollout.run_ended import caller_notifies

_SUCCEEDED = ("SUCCEEDED", "COMPLETE")
"""What kfp's documents call it, and what Kubeflow 2.17 says: its metadata store's word."""

_UNREAD = "What its steps wrote cannot be read"
_FAILED = (
    "A step of it ended with an error, or the run was ended; Kubeflow shows which step, and its log"
)


@dataclass(frozen=True)
class _Run:
    """A run on Kubeflow that has ended, and what Kubeflow says of it."""

    name: str
    run: str
    state: str
    error: str
    tracking_uri: str

    @property
    def succeeded(self) -> bool:
        return self.state in _SUCCEEDED

    @property
    def said(self) -> str:
        """What Kubeflow says of its end, in sentences."""
        if self.succeeded:
            return "Kubeflow says that it succeeded."
        ended = "" if self.state == "FAILED" else f" It ended as {self.state or 'unknown'}."
        return f"{self.error.rstrip('.') or _FAILED}.{ended}"


def notify_of_end(
    state: str, *, name: str, run: str, notify: Mapping[str, Any], tracking_uri: str, error: str
) -> None:
    """Notify people of how a run ended, once at each place, and say it.

    It never fails for a store or a place. Called again, it tries the places that have not taken
    the message.

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
    if caller_notifies():
        progress.say("whoever runs it here notifies people")
        return
    ended = _Run(name, run, state, error, tracking_uri)
    ends: RunEnds | None = None
    try:
        ends = RunEnds(name, tracking_uri=tracking_uri)
        end = _end_of(ended, ends)
    except PenstockError as problem:
        end = _unknown(ended, f"{_UNREAD}: {problem}")
    left = [place for place in named(places) if place not in end.delivered]
    if end.delivered and not left:
        progress.say("people were notified already")
        return
    message = _message(end, ended, kubeflow=places.kubeflow)
    note = _Delivered(ends, run, end)
    for lost in deliver(message, to=places, folder=Path(), places=left, taken=note.at):
        progress.say(lost)
    note.prune()
    progress.say(message.text)


def _end_of(run: _Run, ends: RunEnds) -> RunEnd:
    """Return how a run ended, by what a step has written and by what the registry has."""
    try:
        noted, doubt = ends.read(run.run), ""
    except PenstockError as problem:
        noted, doubt = None, f"{_UNREAD}: {problem}"
    if noted is not None and noted.outcome not in ("failed", "unknown"):
        return noted
    try:
        fate = fate_of(run.run, name=run.name, tracking_uri=run.tracking_uri)
    except PenstockError as problem:
        if noted is not None and noted.outcome == "unknown":
            return noted
        return _unknown(run, f"{doubt} The registry cannot be read: {problem}".strip())
    if fate is not None and fate.promoted:
        return _end("released", f"{_promoted(fate)} {_although(run, noted)}", fate)
    if noted is not None and noted.outcome == "failed" and not run.succeeded:
        return noted
    # What an attempt at a step wrote that another one made good is not how it ended.
    if fate is not None and fate.rolled_back:
        return _end("rolled_back", f"{fate.rolled_back.rstrip('.')}.", fate)
    if noted is not None and noted.outcome == "failed" and noted.delivered:
        # It was written here, and people were notified of it.
        return noted
    return _end("failed", f"{run.said} {_unreleased(run, fate)} {doubt}".strip(), fate)


def _promoted(fate: Fate) -> str:
    since = "" if fate.champion == fate.version else f", and version {fate.champion} is it now"
    back = f". It was rolled back since: {fate.rolled_back.rstrip('.')}" if fate.rolled_back else ""
    which = "it registered" if fate.registered else "an earlier run registered and it released"
    return (
        f"By the registry version {fate.version}, which {which}, became the champion{since}{back}."
    )


def _although(run: _Run, noted: RunEnd | None) -> str:
    """Return what is not as it should be at the end of a run that has released a version."""
    if run.succeeded:
        return "The step that released it could not write down how that went."
    return f"Yet the run did not succeed. {noted.reason if noted is not None else run.said}"


def _unreleased(run: _Run, fate: Fate | None) -> str:
    lacking = "But no step has written down that a version was promoted. " if run.succeeded else ""
    if fate is None:
        return f"{lacking}The registry has no version that it registered."
    return (
        f"{lacking}By the registry version {fate.version}, which it registered, was not promoted."
    )


def _unknown(run: _Run, doubt: str) -> RunEnd:
    why = (
        f"{run.said} Why, and whether a version was released, could not be read from MLflow. "
        f"{doubt}"
    )
    return _end("unknown", why, None)


def _end(outcome: Told, reason: str, fate: Fate | None) -> RunEnd:
    return RunEnd(
        outcome=outcome,
        reason=redact(reason),
        version=fate.version if fate is not None else None,
        time=datetime.now(UTC),
    )


def _message(end: RunEnd, run: _Run, *, kubeflow: str) -> Message:
    page = page_of(run.name, end.version, tracking_uri=run.tracking_uri)
    shown = f" ({kubeflow.rstrip('/')}/#/runs/details/{run.run})" if kubeflow else ""
    return Message(
        identity="-".join(filter(None, (run.name, run.run, end.outcome))),
        event=end.outcome,
        service=run.name,
        text=f"{run.name}: {IN_WORDS[end.outcome]}. {end.reason.rstrip('.')}. "
        f"Run of Kubeflow: {run.run}{shown}." + (f" Page: {page}" if page else ""),
        time=end.time,
        data={"run": run.run, "version": end.version},
        origin="release",
    )


class _Delivered:
    """Keeps which places have taken a message: an exit handler that is tried again skips them.

    Args:
        ends: Where; None: MLflow is away, and nothing is kept.
        run: Kubeflow's id of the run.
        end: How it ended.
    """

    def __init__(self, ends: RunEnds | None, run: str, end: RunEnd) -> None:
        self._ends, self._run, self._end = ends, run, end

    def at(self, place: Place) -> None:
        """Note that a place has it, at once: the next write may never come."""
        self._end = self._end.model_copy(update={"delivered": (*self._end.delivered, place)})
        if self._ends is None:
            return
        try:
            self._ends.write(self._run, self._end)
        except PenstockError as error:
            progress.say(f"it could not be noted that people were notified: {error}")

    def prune(self) -> None:
        """Remove the ends of old runs."""
        if self._ends is None:
            return
        try:
            self._ends.prune()
        except PenstockError as error:
            progress.say(f"the ends of old runs could not be removed: {error}")
