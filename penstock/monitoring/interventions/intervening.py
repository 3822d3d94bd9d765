"""Recalls and retrainings at work: begun once, gone on with after a kill, ended with a record.

Each stage is in the monitor's state before it begins, and is named there: asked again for the same
name, an executor goes on with what it began. So a kill between any two writes changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from penstock.errors import PenstockError
from penstock.monitoring.interventions.intervention import (
    action_of,
    after_comparison,
    after_refusal,
    over,
)
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.verdict.actions import stopped
from penstock.records.intervention import Comparison, Intervention, RunStatus
from penstock.records.monitoring import MonitorState, Notice

Step = tuple[MonitorState, list[str]]


class Executor(Protocol):
    """Does what the rules say: on this machine, or on a cluster.

    Both methods return at once. What takes long is begun by the first call, and later calls with
    the same names return how it stands, also from another process.
    """

    def compare(self, intervention: Intervention) -> Comparison | None:
        """Return how former champions and labels stand, as of the look `intervention.look`.

        Args:
            intervention: Its stage is `compare`.

        Returns:
            The comparison; None: it is being made.

        Raises:
            PenstockError: If it cannot be made; it is tried again after the next look.
        """
        ...

    def run(self, intervention: Intervention) -> RunStatus:
        """Return how the run `intervention.run` stands, which is begun once.

        Its stage says which: `recall` hands the former champion `intervention.recall` to the gate
        as a candidate, on the labelled rows since `intervention.since` in the half `gate`
        (`half_of`); `retrain` is the release pipeline on all labelled rows since. Both end as any
        release does: approval where the policy asks for it, canary, promotion or rollback.

        Args:
            intervention: Its stage is `recall` or `retrain`.

        Raises:
            PenstockError: If that cannot be known now; it is asked again.
        """
        ...


@dataclass(frozen=True)
class Interventions:
    """What follows degraded performance of one service.

    Attributes:
        spec: The section `monitoring`.
        executor: What does it.
    """

    spec: MonitoringSpec
    executor: Executor

    def step(
        self,
        state: MonitorState,
        *,
        now: datetime,
        write: Callable[[MonitorState], None],
        link: str = "",
    ) -> Step:
        """Go on with what is under way, as far as it comes without waiting.

        Args:
            state: The monitor's.
            now: The time.
            write: Keeps the state; whole or not at all.
            link: Where the page is, for messages.

        Returns:
            The state, written, and what is to be said.

        Raises:
            ServiceError: If the state cannot be written: the next call goes on from what stands.
        """
        work = _Work(self, state, now=now, write=write, link=link)
        work.go_on()
        return work.state, work.said


class _Work:
    """One step: the state as it becomes, and what is to be said."""

    def __init__(
        self,
        settings: Interventions,
        state: MonitorState,
        *,
        now: datetime,
        write: Callable[[MonitorState], None],
        link: str,
    ) -> None:
        self.state = state
        self.said: list[str] = []
        self._spec, self._executor = settings.spec, settings.executor
        self._now, self._write, self._link = now, write, link

    def go_on(self) -> None:
        one = self.state.intervention
        if one is None:
            return
        if why := over(one, self.state):
            self.said.append(why)
            self._keep(None)
        elif one.stage == "wait":
            # Only a look brings new labels.
            if one.look != self.state.number:
                self._compare(self._keep_changed(one, stage="compare", look=self.state.number))
        elif one.stage == "compare":
            self._compare(one)
        else:
            self._run(one)

    def _compare(self, one: Intervention) -> None:
        try:
            found = self._executor.compare(one)
        except PenstockError as error:
            waits = f"Former champions and labels could not be compared: {error}"
            self._wait(one.model_copy(update={"stage": "wait", "waits": waits}), "comparison")
            return
        if found is not None:
            self._enter(after_comparison(one, found, spec=self._spec, now=self._now))

    def _enter(self, one: Intervention) -> None:
        """Go to a stage: written down first, then begun."""
        if one.stage == "wait":
            self._wait(one, "labels")
            return
        self._keep(one)
        what = f"Recalling version {one.recall}" if one.stage == "recall" else "Retraining"
        self.said.append(f"{what}: {one.grounds} Run: {one.run}")
        self._run(one)

    def _run(self, one: Intervention) -> None:
        try:
            status = self._executor.run(one)
        except PenstockError as error:
            self.said.append(f"How the run {one.run} stands is not known: {error}")
            return
        if status.state != "running":
            self._ended(one, status)
        elif status.waits != one.waits:
            # The run's own step has notified people that it waits for them.
            self._keep_changed(one, waits=status.waits)
            if status.waits:
                self.said.append(status.waits)

    def _wait(self, one: Intervention, whom: str) -> None:
        """Keep that it waits; people are notified once of each kind of waiting."""
        notices: tuple[Notice, ...] = ()
        if whom not in one.told:
            one = one.model_copy(update={"told": (*one.told, whom)})
            notices = (self._notice(one, "waiting", one.waits, whom=whom),)
            self.said.append(one.waits)
        if one != self.state.intervention:
            self._keep(one, notices=notices)

    def _ended(self, one: Intervention, status: RunStatus) -> None:
        action = action_of(one, status, number=self.state.number, now=self._now)
        actions = (*self.state.actions, action)
        stop = stopped(actions, spec=self._spec)
        text = f"{action.reason} {stop}".strip()
        totals = dict(self.state.totals.actions)
        totals[action.kind] = totals.get(action.kind, 0) + 1
        self.said.append(text)
        self._keep(
            None if stop else after_refusal(one, status),
            notices=(self._notice(one, action.kind, text),),
            actions=actions,
            totals=self.state.totals.model_copy(update={"actions": totals}),
        )
        self.go_on()

    def _notice(self, one: Intervention, event: str, text: str, *, whom: str = "") -> Notice:
        page = f" Page: {self._link}" if self._link else ""
        name = "-".join(filter(None, (self.state.service, one.identity, one.run, event, whom)))
        return Notice(
            identity=name,
            event=event,
            text=f"{self.state.service}: {text}{page}",
            time=self._now,
        )

    def _keep_changed(self, one: Intervention, **changes: Any) -> Intervention:
        changed = one.model_copy(update=changes)
        self._keep(changed)
        return changed

    def _keep(
        self, one: Intervention | None, *, notices: tuple[Notice, ...] = (), **changes: Any
    ) -> None:
        outbox = (*self.state.outbox, *notices)
        self.state = self.state.model_copy(
            update={"intervention": one, "outbox": outbox, **changes}
        )
        self._write(self.state)
