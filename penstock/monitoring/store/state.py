"""What the monitor keeps: one folder, here or in a store, one process at a time, whole after kills.

    monitor/
      state.json          how far it came, the last verdict, messages to be delivered
      windows/            one record for each look: counts and figures, no rows
      verdicts/           one record for each look: what was concluded and why
      answered/           scores of answered rows, until their labels come
      index.html          the page
      metrics.prom        the figures for Prometheus
      lock                held by the process that watches

A look writes its window first, then the verdict, then the state. A look that was killed before it
wrote the state is gone on with by the next: from its window, if that is there, so no row is counted
twice; else from the cursor in the state, so none is missed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from penstock.captures.places import LocalPlace
from penstock.common.disk import writing
from penstock.errors import InputError, IntegrityError, PenstockError, ServiceError
from penstock.monitoring.store.holding import FileHold, Hold
from penstock.monitoring.store.storage import Storage
from penstock.records.base import Record
from penstock.records.monitoring import Action, Looked, MonitorState, Notice, Progress, Verdict

R = TypeVar("R", bound=Record)

_KEPT = timedelta(days=31)
_STATE = "state.json"
PAGE = "index.html"
METRICS = "metrics.prom"
ANSWERED = "answered"
"""Folder of the scores that wait for labels."""

_KEPT_RECORD = re.compile(r"[0-9].*\.json")
_LEFT = re.compile(r"\..*\.json\..*")
"""What a killed write leaves."""


class MonitorStore:
    """What the monitor of one service keeps, wherever that lies.

    Args:
        storage: Its files.
        hold: The right to watch; None: this process only reads.
    """

    def __init__(self, storage: Storage, *, hold: Hold | None = None) -> None:
        self.storage = storage
        self._hold = hold

    @property
    def link(self) -> str:
        """The address of the page."""
        return self.storage.address(".", PAGE)

    def held(self, *, now: datetime) -> AbstractContextManager[None]:
        """Be the one process that watches, until the block ends or the process does.

        Raises:
            ServiceError: If another one watches: which, and since when; or it is not known.
        """
        assert self._hold is not None, "it is only read here"
        return self._hold.held(now=now)

    def read(self, *, service: str) -> tuple[MonitorState, list[str]]:
        """Return the state, and what a reader should know of how it was read.

        Of a state that is torn, the newest window and verdict show how far the monitor came; the
        torn file is kept beside it.

        Raises:
            IntegrityError: If it is of another release of Penstock.
            InputError: If it is of another service.
            ServiceError: If a store does not answer.
        """
        try:
            text = self._text(".", _STATE)
        except FileNotFoundError:
            return MonitorState(service=service), []
        try:
            state = MonitorState.loads(text, where=self.storage.address(".", _STATE))
        except InputError:
            kept = self._put_aside(".", _STATE)
            return self._rebuilt(service), [
                f"The monitor's state could not be read. It was put aside as {kept}, and the "
                "monitor went on from the newest window; what it had counted in all began anew."
            ]
        self._require(state, service)
        return state, []

    def read_only(self, *, service: str) -> MonitorState:
        """Return the state for who only looks at it; a fresh one where there is none.

        Raises:
            InputError: If it is torn, or of another service.
            IntegrityError: If it is of another release of Penstock.
            ServiceError: If a store does not answer.
        """
        try:
            text = self._text(".", _STATE)
        except FileNotFoundError:
            return MonitorState(service=service)
        state = MonitorState.loads(text, where=self.storage.address(".", _STATE))
        self._require(state, service)
        return state

    def _require(self, state: MonitorState, service: str) -> None:
        if state.service != service:
            raise InputError(
                f"it watches {state.service!r}, not {service!r}",
                where=self.storage.where,
                remedy="Move one of the two project files to a folder of its own: a folder has one "
                "monitor.",
            )

    def glance(self, *, service: str) -> MonitorState:
        """Return the same, but a fresh one also where it cannot be read."""
        try:
            return self.read_only(service=service)
        except PenstockError:
            return MonitorState(service=service)

    def write(self, state: MonitorState) -> None:
        """Replace the state, whole or not at all.

        Raises:
            ServiceError: If it cannot be written.
        """
        self.storage.write(".", _STATE, state.dumps().encode())

    def window(self, number: int) -> Looked | None:
        """Return the window of a look, None if there is none; a torn one is put aside."""
        return self._record(Looked, "windows", number)

    def verdict(self, number: int) -> Verdict | None:
        """Return the verdict of a look, None if there is none; a torn one is put aside."""
        return self._record(Verdict, "verdicts", number)

    def keep(self, record: Looked | Verdict) -> None:
        """Write the record of a look, whole or not at all.

        Raises:
            ServiceError: If it cannot be written.
        """
        kind = "windows" if isinstance(record, Looked) else "verdicts"
        name = f"{record.number:08d}-{record.time:%Y%m%dT%H%M%SZ}.json"
        self.storage.write(kind, name, record.dumps().encode())

    def recent(self, kind: type[R], *, most: int) -> list[R]:
        """Return the newest records of a kind that can be read, the oldest first."""
        folder = "windows" if kind is Looked else "verdicts"
        found = []
        for name in self._names(folder)[-most:]:
            with contextlib.suppress(OSError, InputError, IntegrityError):
                found.append(kind.loads(self._text(folder, name), where=name))
        return found

    def publish(self, *, page: str, metrics: str) -> None:
        """Write what people and Prometheus read.

        Raises:
            ServiceError: If it cannot be written.
        """
        self.storage.write(".", PAGE, page.encode())
        self.storage.write(".", METRICS, metrics.encode())

    def prune(self, *, keep: int) -> None:
        """Delete what was kept of the oldest looks, and what killed writes left half done."""
        for kind in ("windows", "verdicts"):
            left = [name for name in self.storage.names(kind) if _LEFT.fullmatch(name)]
            self._remove(kind, [*self._names(kind)[:-keep], *left])
        self._remove(".", [n for n in self.storage.names(".") if n.startswith(f".{_STATE}.")])

    def _remove(self, folder: str, names: Iterable[str]) -> None:
        for name in names:
            # What stays is deleted the next time.
            with contextlib.suppress(ServiceError):
                self.storage.remove(folder, name)

    def _record(self, kind: type[R], folder: str, number: int) -> R | None:
        for name in self._names(folder):
            if name.startswith(f"{number:08d}-"):
                try:
                    return kind.loads(self._text(folder, name), where=name)
                except InputError:
                    self._put_aside(folder, name)
        return None

    def _names(self, folder: str) -> list[str]:
        return [name for name in self.storage.names(folder) if _KEPT_RECORD.fullmatch(name)]

    def _text(self, folder: str, name: str) -> str:
        """Return a file's text; an empty one where this machine cannot read what is there."""
        try:
            return self.storage.read(folder, name).decode()
        except FileNotFoundError:
            raise
        except (OSError, UnicodeDecodeError):
            return ""

    def _put_aside(self, folder: str, name: str) -> str:
        kept = f"{name}.torn"
        with writing(self.storage.address(folder, name)):
            data = self.storage.read(folder, name)
        self.storage.write(folder, kept, data)
        self.storage.remove(folder, name)
        return kept

    def _rebuilt(self, service: str) -> MonitorState:
        verdicts = self.recent(Verdict, most=1)
        windows = self.recent(Looked, most=2)
        if not windows:
            return MonitorState(service=service)
        state = MonitorState(service=service)
        judged = {one.number: one for one in verdicts}
        # A window without its verdict is of a look that was cut short: it is gone on with.
        done = [one for one in windows if one.number in judged or one.number < windows[-1].number]
        for window in done[-1:]:
            state = following(
                state.model_copy(update={"number": window.number - 1}),
                window,
                judged.get(window.number),
            )
        return state


class MonitorFolder(MonitorStore):
    """`<home>/monitor` of a project on this machine.

    Args:
        home: The project's home.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "monitor"
        self.page = self.path / PAGE
        self.answered = self.path / ANSWERED
        self.metrics = self.path / METRICS
        storage = Storage(LocalPlace(self.path), where=str(self.path))
        super().__init__(storage, hold=FileHold(self.path))

    @property
    def link(self) -> str:
        """The address of the page."""
        return self.page.resolve().as_uri()


def following(
    state: MonitorState,
    looked: Looked,
    verdict: Verdict | None,
    *,
    actions: tuple[Action, ...] = (),
    notices: tuple[Notice, ...] = (),
) -> MonitorState:
    """Return the state after a look.

    Args:
        state: As the look before left it.
        looked: What the look saw.
        verdict: What was concluded; None: that is not known.
        actions: What was done.
        notices: What people are to be notified of.
    """
    same = state.version == looked.version
    now = looked.time
    totals = dict(state.totals.actions)
    for action in actions:
        totals[action.kind] = totals.get(action.kind, 0) + 1
    noted = [one.model_copy(update={"time": min(one.time, now)}) for one in state.actions]
    kept = tuple(one for one in (*noted, *actions) if now - one.time < _KEPT)
    began = state.began if same and state.began else now
    changed = verdict is not None and (state.verdict is None or state.verdict.kind != verdict.kind)
    labels = looked.performance.labels if looked.performance else 0
    changes: dict[str, Any] = {
        "version": looked.version,
        "began": min(began, now),
        "number": looked.number,
        "time": now,
        "judged": now if looked.rows else _not_later(state.judged if same else None, now),
        "labelled": now if labels else _not_later(state.labelled if same else None, now),
        "volume": looked.volume or state.volume,
        "seen": (state.seen if same else 0) + looked.rows,
        "progress": looked.progress,
        "rearm": same and (_over(state.verdict, verdict) or (state.rearm and looked.drift is None)),
        "verdict": verdict,
        "changed": now if changed else _not_later(state.changed, now),
        "actions": kept,
        "outbox": (*state.outbox, *notices),
        "totals": state.totals.model_copy(
            update={
                "looks": state.totals.looks + 1,
                "rows": state.totals.rows + looked.rows,
                "lost": state.totals.lost + looked.lost,
                "actions": totals,
            }
        ),
    }
    if looked.performance is not None and looked.performance.realized is not None:
        changes["labelled_performance"] = looked.performance
    elif not same:
        changes["labelled_performance"] = None
    if looked.rows:
        changes["last"] = looked.model_copy(update={"counts": None, "progress": Progress()})
    elif not same:
        changes["last"] = None
    return state.model_copy(update=changes)


def _not_later(time: datetime | None, now: datetime) -> datetime | None:
    """Return a time, or now where a clock that was set back makes it lie in the future."""
    return None if time is None else min(time, now)


def _over(before: Verdict | None, after: Verdict | None) -> bool:
    """Return whether an alarm that stood is over."""
    if before is None or after is None:
        return False
    return bool(before.drift and not after.drift) or bool(before.loss and not after.loss)
