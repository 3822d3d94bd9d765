"""What is written of an experiment: its record, its page, and a message when it has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from penstock.common import files, progress
from penstock.common.disk import writing
from penstock.errors import PenstockError, ServiceError
from penstock.notification import Message, NotifySpec, deliver
from penstock.records.base import restored
from penstock.records.experiment import (
    Ending,
    Experiment,
    ExperimentOrder,
    ExperimentPlan,
    ExperimentReading,
    ended_by_reading,
)
from penstock.records.rollout import Finding, Rollout
from penstock.registry.evidence import keep_rollout
from penstock.rollout.experiment.controller import READING, guards_of
from penstock.rollout.experiment.events import Events
from penstock.rollout.experiment.report import render
from penstock.rollout.journal import Journal
from penstock.rollout.spec import CanarySpec, DeploymentSpec
from penstock.rollout.target import Target, prune

_NOTED = "written-down"
"""Note of an experiment that has ended: its record is kept, and people were notified."""


@dataclass(frozen=True)
class Place:
    """Where an experiment's papers go, and who is notified of its end.

    Attributes:
        home: The project's; records and pages are in its folder `experiments`.
        tracking_uri: The MLflow store.
        notify: Who is notified.
        beside: Folder that a path of `notify` is relative to.
    """

    home: Path
    tracking_uri: str
    notify: NotifySpec
    beside: Path

    def record(self, identity: str) -> Path:
        """Return the path of an experiment's record."""
        return self.home / "experiments" / f"{identity}.json"

    def page(self, identity: str) -> Path:
        """Return the path of its page."""
        return self.home / "experiments" / f"{identity}.html"


@dataclass(frozen=True)
class Shown:
    """An experiment as it stands.

    Attributes:
        rollout: Its rollout.
        plan: Its plan.
        by: Who started it.
        reading: What it shows.
        guards: What the rules on errors, latency and loss find.
        page: Its page.
    """

    rollout: Rollout
    plan: ExperimentPlan
    by: str
    reading: ExperimentReading
    guards: tuple[Finding, ...]
    page: Path


def shown(target: Target, *, place: Place) -> Shown | None:
    """Return the service's newest experiment as it stands, and write its page; None: it has none.

    It may be called at any time and as often as anybody likes: the reading holds at every look.
    """
    for store in reversed(target.stores()):
        journal = Journal(store)
        if journal.exists and journal.rollout.purpose == "experiment":
            return _shown(target, journal, place)
    return None


def record_of(journal: Journal, place: Place) -> Experiment:
    """Return the record of an experiment that was written down.

    Raises:
        InputError: If it was not.
    """
    return Experiment.read(place.record(journal.name))


def write_down(target: Target, place: Place) -> list[Experiment]:
    """Write the record and page of experiments that have ended, keep them, and notify people.

    What was written down before a kill is done again; nothing is left out.

    Args:
        target: Where the service lives; its lease is held by the caller.
        place: Where they go.

    Returns:
        What was written down now.
    """
    return [_written(target, journal, place) for journal in _ended(target)]


def _ended(target: Target) -> Iterator[Journal]:
    for store in target.stores():
        if store.note(_NOTED) is None and "-experiment-" in store.name:
            journal = Journal(store)
            if journal.exists and journal.rollout.outcome is not None:
                yield journal


def _written(target: Target, journal: Journal, place: Place) -> Experiment:
    found = _shown(target, journal, place)
    rollout = found.rollout
    record = Experiment(
        identity=rollout.identity,
        service=rollout.service,
        champion=rollout.stable or 0,
        challenger=rollout.candidate,
        plan=found.plan,
        by=found.by,
        started=rollout.started,
        ended=rollout.last.time,
        outcome=outcome_of(rollout),
        reason=rollout.reason,
        reading=found.reading,
        guards=found.guards,
    )
    path = place.record(rollout.identity)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        record.write(path)
    kept = {"experiment.json": path, "experiment.html": found.page}
    problems = []
    try:
        keep_rollout(rollout, tracking_uri=place.tracking_uri, others=kept)
    except PenstockError as error:
        problems.append(f"the record could not be kept with the version: {error}")
    problems += deliver(notice_of(record, found.page), to=place.notify, folder=place.beside)
    for problem in problems:
        progress.say(problem)
    target.store(rollout.identity).leave(_NOTED, record.digest())
    with contextlib.suppress(ServiceError):
        order = journal.order
        history = DeploymentSpec.parse(order.deployment, where="deployment") if order else None
        prune(target, keep=history.history if history else DeploymentSpec().history)
    return record


def _shown(target: Target, journal: Journal, place: Place) -> Shown:
    order, rollout = journal.order, journal.rollout
    assert isinstance(order, ExperimentOrder)
    kept = journal.note(READING) if ended_by_reading(rollout) else None
    if kept is not None:
        reading = restored(
            ExperimentReading, kept, where=f"experiment {journal.name}: note {READING!r}"
        )
    else:
        # What comes after its end is nobody's any more.
        now = _decided(rollout) or datetime.now(UTC)
        reading = Events(order.experiment, target.events(rollout.identity)).reading(now)
    page = place.page(rollout.identity)
    guards = guards_found(rollout, order)
    text = render(rollout, order.experiment, reading, guards=guards, by=order.by)
    with writing(page):
        page.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(page, text)
    return Shown(rollout, order.experiment, order.by, reading, guards, page)


def _decided(rollout: Rollout) -> datetime | None:
    """Return when an experiment was ended: later users and values are in no decision."""
    ends = [each.time for each in rollout.transitions if each.phase in ("promote", "rollback")]
    return ends[0] if ends else None


def guards_found(rollout: Rollout, order: ExperimentOrder) -> tuple[Finding, ...]:
    """Return what the rules on errors, latency and loss find where an experiment stands."""
    steps = [each for each in rollout.transitions if each.phase == "step"]
    if not steps or not rollout.intervals:
        return ()
    plan, task = (
        restored(CanarySpec, rollout.plan, where=f"rollout {rollout.identity}: plan"),
        order.experiment.task,
    )
    return guards_of(rollout, steps[-1], phase="step", plan=plan, task=task)


def outcome_of(rollout: Rollout) -> Ending:
    """Return how an experiment ended."""
    if rollout.outcome == "promoted":
        return "promoted"
    if ended_by_reading(rollout):
        return "kept"
    ends = [each for each in rollout.transitions if each.phase == "rollback"]
    harmed = any(one.verdict == "fail" for each in ends[-1:] for one in each.findings)
    return "harm" if harmed else "broken off"


def notice_of(record: Experiment, page: Path) -> Message:
    """Return the message on how an experiment ended."""
    words = {
        "promoted": f"version {record.challenger} won the experiment and is the champion",
        "kept": f"version {record.champion} stays the champion, for the experiment ended without a "
        "winner",
        "harm": f"the experiment with version {record.challenger} was ended for harm",
        "broken off": f"the experiment with version {record.challenger} was broken off",
    }
    return Message(
        identity=f"{record.service}-{record.identity}",
        event=record.outcome.replace(" ", "_"),
        service=record.service,
        text=f"{record.service}: {words[record.outcome]}. {record.reason} Page: {page}",
        time=record.ended,
        data={"outcome": record.outcome, "experiment": record.identity},
        origin="experiment",
    )
