"""The controller of an experiment: the engine of every rollout, with a KPI in place of steps.

It deploys, gives the challenger its share of users, and looks: at the guards (errors, latency and
loss, by the tests of the canary), which end it for harm, and at the KPI, by which it is promoted or
the champion kept once somebody stops it, its days are over, or, where the plan says so, the reading
is decided. Every move is written first, as of any rollout; what it shows is worked out anew from
the events by whoever goes on with it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Literal

from penstock.common import progress
from penstock.errors import LeaseLostError, ServiceError
from penstock.records.experiment import ExperimentPlan, ExperimentReading
from penstock.records.rollout import Finding, Rollout, Transition
from penstock.rollout.analysis.judge import judge
from penstock.rollout.ending import Move
from penstock.rollout.engine import Controller, watched
from penstock.rollout.experiment.events import Events, EventSource
from penstock.rollout.experiment.reading import finding_of
from penstock.rollout.router import ExperimentRouting, Routing

STOP, KEEP = "stop", "keep"
"""How an experiment is asked to end: the better version stays, or the champion in any case."""

ENDING, WEIGHT, READING, LOOK = "stop", "weight", "reading", "look"
"""Notes beside its journal: how it is to end and who asks, the share of users that was asked for,
the reading that it ended on, and that of the newest look."""

GUARDS = ("errors", "latency", "labels")
"""Rules of a canary that end an experiment for harm."""

_SHORTENED = 256
"""Looks after which the journal's older ones are put together."""

_NOTICED = 1.0
"""Seconds after which a request to stop is noticed."""


class ExperimentController(Controller):
    """Runs one experiment from wherever its journal stands to its end.

    Args:
        experiment: Its plan.
        events: Where its events are.
        **parts: As of `Controller`.
    """

    def __init__(self, *, experiment: ExperimentPlan, events: EventSource, **parts: Any) -> None:
        super().__init__(**parts)
        self._experiment = experiment
        self._events = Events(experiment, events)
        self._said = ""
        self._looks = 0

    def run(self) -> Rollout:
        """Go on until the experiment has ended, and return its record.

        Whoever interrupts it leaves it as it is: users keep their versions, and the next controller
        goes on. Raises as `Controller.run` does.
        """
        try:
            return super().run()
        except KeyboardInterrupt:
            progress.say(
                "nobody watches the experiment now, and its users keep their versions. Continue "
                "with: penstock experiment start. End it with: penstock experiment stop"
            )
            raise

    def _interrupted(self) -> None:
        """Leave everything as it is."""

    def _routing(self, here: Transition) -> Routing:  # noqa: ARG002
        plan = self._experiment
        return Routing(
            grids=self._journal.rollout.grids,
            experiment=ExperimentRouting(
                identity=self._journal.name,
                salt=plan.salt,
                header=plan.header,
                labels=plan.kpi == "cost",
            ),
        )

    def _watch(self, here: Transition) -> Move:
        # Whoever ends it does not first bring up what it takes to go on. Whom it promotes is looked
        # at first: nobody may have watched for harm for long.
        ended = self._verdict(here) if self._asked() else None
        if ended is not None and ended.phase != "promote":
            return ended
        return super()._watch(here)

    def _pause(self) -> None:
        due = time.monotonic() + self._plan.interval
        while (left := due - time.monotonic()) > 0:
            if self._asked() or self._journal.abort_requested is not None:
                return
            time.sleep(min(left, _NOTICED))

    def _verdict(self, here: Transition) -> Move | None:
        harm = self._harm(self._findings(here))
        if harm is not None:
            return harm
        reading = self._events.reading(datetime.now(UTC))
        self._note(reading)
        self._say(reading)
        why = self._over(reading)
        if why:
            return self._end(reading, why)
        self._looks += 1
        if self._looks % _SHORTENED == 0:
            self._journal.shorten()
        asked = self._journal.note(WEIGHT) or ""
        if asked.isdecimal() and here.weight < int(asked) <= 50:
            return Move("step", "More users were asked for.", step=here.step, weight=int(asked))
        return None

    def _findings(self, here: Transition) -> tuple[Finding, ...]:
        return guards_of(
            self._journal.rollout, here, phase="step", plan=self._plan, task=self._task
        )

    def _over(self, reading: ExperimentReading) -> str:
        """Return why the experiment is over; empty: it is not."""
        if self._asked():
            return f"Stopped by {self._asked().partition(' ')[2] or 'somebody'}."
        if reading.verdict == "better" and self._blind:
            # Nobody asked for its end, so it waits until harm would be seen.
            return ""
        if watched(self._journal.rollout.intervals) > self._experiment.seconds:
            return "Its days are over."
        if self._experiment.automatic and reading.verdict in ("better", "worse"):
            return "The reading is decided."
        return ""

    def _end(self, reading: ExperimentReading, why: str) -> Move:
        keep = self._asked().partition(" ")[0] == KEEP
        findings = (finding_of(reading),)
        self._journal.leave(READING, reading.model_dump_json())
        if not keep and reading.verdict == "better":
            if self._journal.rollout.fault:
                why += " A fault was injected, so it is not promoted."
            elif self._blind:
                why += " The challenger is not promoted: whether it does harm is not seen. "
                why += self._blind
            else:
                reason = f"{reading.sentence} {why}"
                return Move("promote", reason, weight=100, findings=findings)
        kept = "The champion is kept, as was asked." if keep else "The champion is kept."
        return Move("rollback", f"{kept} {reading.sentence} {why}", findings=findings)

    @property
    def _blind(self) -> str:
        """Why the newest look did not see what users got; empty: it did."""
        intervals = self._journal.rollout.intervals
        return intervals[-1].blind if intervals else ""

    def _note(self, reading: ExperimentReading) -> None:
        """Leave what the look showed for Prometheus; without it the experiment goes on."""
        try:
            self._journal.leave(LOOK, reading.model_dump_json())
        except LeaseLostError:
            raise
        except ServiceError as error:
            progress.say(f"the look could not be noted for Prometheus: {error}")

    def _asked(self) -> str:
        return self._journal.note(ENDING) or ""

    def _say(self, reading: ExperimentReading) -> None:
        if reading.verdict != self._said:
            self._said = reading.verdict
            progress.say(reading.sentence)


def guards_of(
    rollout: Rollout,
    here: Transition,
    *,
    phase: Literal["shadow", "step"],
    plan: Any,
    task: Literal["binary", "multiclass", "regression"],
) -> tuple[Finding, ...]:
    """Return what the rules on errors, latency and loss find in an experiment.

    Args:
        rollout: Its rollout.
        here: Where it stands.
        phase: Its phase.
        plan: Its plan as a canary has it.
        task: The model's task.
    """
    findings = judge(
        rollout.intervals,
        phase=phase,
        step=here.step,
        rules=plan.rules,
        min_samples=1,
        grids=rollout.grids,
        task=task,
    )
    return tuple(one for one in findings if one.rule in GUARDS)
