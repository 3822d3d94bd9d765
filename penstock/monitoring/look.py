"""One look: read what came, measure it, judge it, do what follows, and write all of it down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from penstock.monitoring import exporter
from penstock.monitoring.guardian.guarding import Guardian
from penstock.monitoring.interventions.intervening import Interventions
from penstock.monitoring.interventions.intervention import begun
from penstock.monitoring.observe import observe
from penstock.monitoring.page.page import monitor_page
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.store.answered import Answered
from penstock.monitoring.store.collect import Watched
from penstock.monitoring.store.state import MonitorStore, following
from penstock.monitoring.verdict.actions import BEGUN, actions_of, done_in_words, notices_of
from penstock.monitoring.verdict.judge import judge
from penstock.notification import Message, NotifySpec, deliver
from penstock.records.monitoring import Looked, MonitorState, Notice, Verdict
from penstock.reports.page import with_navigation

_SHOWN = 100
"""Looks that the page draws."""


def _now() -> datetime:
    return datetime.now(UTC)


def _as_it_is(state: MonitorState) -> MonitorState:
    return state


@dataclass(frozen=True)
class Monitor:
    """Watches one service.

    Attributes:
        folder: Where it keeps what it knows.
        service: The service.
        spec: The section `monitoring`.
        notify: Who is notified.
        beside: What the path of a file in `notify` is relative to.
        watched: Returns what is to be watched now.
        index: Address of the project's page, seen from the monitor's; empty: there is none.
        refused: Returns how many runs in a row were refused, up to now.
        guardian: Guards the champion; None: nothing does.
        interventions: Recalls and trains again; None: nothing does.
        now: The clock.
        shown: Returns the state as people and Prometheus see it.
        link: Where the page is, for messages; empty: in the folder.
    """

    folder: MonitorStore
    service: str
    spec: MonitoringSpec
    notify: NotifySpec
    beside: Path
    watched: Callable[[], Watched]
    index: str = ""
    refused: Callable[[], int] = lambda: 0
    guardian: Guardian | None = None
    interventions: Interventions | None = None
    now: Callable[[], datetime] = _now
    shown: Callable[[MonitorState], MonitorState] = _as_it_is
    link: str = ""

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the one process that watches the service while the block runs.

        Raises:
            ServiceError: If another one does: which, and since when.
        """
        with self.folder.held(now=self.now()):
            yield

    def look(self) -> tuple[Verdict, list[str]]:
        """Look once; the monitor is held by the caller.

        Returns:
            The verdict, and what else is to be said: messages that were lost, a torn state.

        Raises:
            IntegrityError: If the state is of another release of Penstock.
            ServiceError: If what was seen cannot be written down: then it is seen again.
        """
        state, notes = self.folder.read(service=self.service)
        state, lost = self._delivered(state)
        looked = self._looked(state)
        verdict = judge(looked, state=state, spec=self.spec)
        actions = actions_of(verdict)
        begins = verdict.begins and self.interventions is not None
        done = (*done_in_words(actions), *([BEGUN] if begins else []))
        verdict = verdict.model_copy(update={"done": done})
        self.folder.keep(verdict)
        notices = notices_of(verdict, actions, link=self._link)
        state = following(state, looked, verdict, actions=actions, notices=notices)
        if begins:
            state = state.model_copy(update={"intervention": begun(verdict, looked)})
        self.folder.write(state)
        state, guarded = self._guarded(state)
        state, went_on = self._intervened(state)
        state, more = self._delivered(state)
        self._publish(state)
        self.folder.prune(keep=self.spec.history)
        Answered(self.folder.storage).prune(rows=self.spec.performance.remember)
        return verdict, [*notes, *lost, *guarded, *went_on, *more]

    def guard(self) -> list[str]:
        """Let the guardian read and act, between two looks; return what is to be said.

        Raises:
            IntegrityError: If the state is of another release of Penstock.
            ServiceError: If the state cannot be written.
        """
        return [] if self.guardian is None else self._between(self._guarded)

    def go_on(self) -> list[str]:
        """Go on with a recall or a retraining, between two looks; return what is to be said.

        Raises:
            IntegrityError: If the state is of another release of Penstock.
            ServiceError: If the state cannot be written.
        """
        return [] if self.interventions is None else self._between(self._intervened)

    def _between(self, act: Callable[[MonitorState], tuple[MonitorState, list[str]]]) -> list[str]:
        before, notes = self.folder.read(service=self.service)
        state, said = act(before)
        if not state.outbox and state.intervention == before.intervention:
            return [*notes, *said]
        state, lost = self._delivered(state)
        if state.verdict is not None:
            self._publish(state)
        return [*notes, *said, *lost]

    @property
    def _link(self) -> str:
        return self.link or self.folder.link

    def _guarded(self, state: MonitorState) -> tuple[MonitorState, list[str]]:
        if self.guardian is None:
            return state, []
        return self.guardian.step(
            state,
            now=self.now(),
            write=self.folder.write,
            link=self._link,
        )

    def _intervened(self, state: MonitorState) -> tuple[MonitorState, list[str]]:
        if self.interventions is None:
            return state, []
        return self.interventions.step(
            state,
            now=self.now(),
            write=self.folder.write,
            link=self._link,
        )

    def _looked(self, state: MonitorState) -> Looked:
        """Return what this look sees, written down: by it, or by one that was cut short."""
        found = self.folder.window(state.number + 1)
        if found is not None:
            return found
        looked = observe(
            self.watched(),
            state=state,
            spec=self.spec,
            answered=Answered(self.folder.storage),
            now=self.now(),
            refused=self.refused(),
        )
        self.folder.keep(looked)
        return looked

    def _delivered(self, state: MonitorState) -> tuple[MonitorState, list[str]]:
        """Deliver what waits; a message that was cut short goes out again, with its identity."""
        if not state.outbox:
            return state, []
        problems = [
            f"{problem} Lost: {notice.event} of {notice.time:%Y-%m-%d %H:%M}."
            for notice in state.outbox
            for problem in deliver(_message(notice, state), to=self.notify, folder=self.beside)
        ]
        totals = state.totals.model_copy(
            update={"undelivered": state.totals.undelivered + len(problems)}
        )
        state = state.model_copy(update={"outbox": (), "totals": totals})
        self.folder.write(state)
        return state, problems

    def _publish(self, state: MonitorState) -> None:
        """Write what people and Prometheus read. It is made of the state, so a kill loses nothing.

        Raises:
            ServiceError: If it cannot be written.
        """
        state = self.shown(state)
        text = monitor_page(
            state,
            windows=self.folder.recent(Looked, most=_SHOWN),
            verdicts=self.folder.recent(Verdict, most=_SHOWN),
            spec=self.spec,
        )
        if self.index:
            text = with_navigation(text, links=[(self.service, self.index), ("Monitor", "")])
        self.folder.publish(page=text, metrics=exporter.exposition(state, spec=self.spec))


def _message(notice: Notice, state: MonitorState) -> Message:
    verdict = state.verdict
    data = verdict.model_dump(mode="json") if verdict else {}
    return Message(
        identity=notice.identity,
        event=notice.event,
        service=state.service,
        text=notice.text,
        time=notice.time,
        data={"verdict": data},
    )
