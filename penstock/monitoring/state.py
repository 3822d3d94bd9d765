"""What the monitor keeps: one folder, one process at a time, whole after any kill.

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
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from penstock.common.disk import writing
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.records.base import Record
from penstock.records.monitoring import (
    Action,
    Looked,
    MonitorState,
    Notice,
    Progress,
    Verdict,
)

R = TypeVar("R", bound=Record)

_KEPT = timedelta(days=31)
_STATE = "state.json"


class MonitorFolder:
    """`<home>/monitor` of a project.

    Args:
        home: The project's home.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "monitor"
        self.page = self.path / "index.html"
        self.answered = self.path / "answered"
        self.metrics = self.path / "metrics.prom"
        self._state = self.path / _STATE
        self._lock = self.path / "lock"

    @contextlib.contextmanager
    def held(self, *, now: datetime) -> Iterator[None]:
        """Be the one process that watches, until the block ends or the process does.

        Raises:
            ServiceError: If another one watches: which, and since when; or the folder cannot be
                written.
        """
        with writing(self._lock):
            self.path.mkdir(parents=True, exist_ok=True)
            stream = self._lock.open("a+", encoding="utf-8")
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._busy() from None
            # For the message of a second one alone: a full disk must not keep this one from it.
            with contextlib.suppress(OSError):
                holder = {"process": os.getpid(), "host": socket.gethostname()}
                stream.truncate(0)
                stream.write(json.dumps({**holder, "since": now.isoformat()}))
                stream.flush()
            yield

    def _busy(self) -> ServiceError:
        try:
            found = json.loads(self._lock.read_text(encoding="utf-8"))
            who = f"process {found['process']} on {found['host']}"
            since = f" since {found['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            who, since = "another process", ""
        return ServiceError(
            f"{who} has been watching it{since}",
            where=str(self.path),
            remedy="One monitor is enough. Read its page, or end that process first.",
        )

    def read(self, *, service: str) -> tuple[MonitorState, list[str]]:
        """Return the state, and what a reader should know of how it was read.

        Of a state that is torn, the newest window and verdict tell how far the monitor came; the
        torn file is kept beside it.

        Raises:
            IntegrityError: If it is of another release of Penstock.
            InputError: If it is of another service.
        """
        try:
            text = self._state.read_text(encoding="utf-8")
        except FileNotFoundError:
            return MonitorState(service=service), []
        except (OSError, UnicodeDecodeError):
            text = ""
        try:
            state = MonitorState.loads(text, where=str(self._state))
        except InputError:
            kept = self._put_aside(self._state)
            return self._rebuilt(service), [
                f"The monitor's state could not be read. It was put aside as {kept}, and the "
                "monitor went on from the newest window; what it had counted in all began anew."
            ]
        if state.service != service:
            raise InputError(
                f"it watches {state.service!r}, not {service!r}",
                where=str(self.path),
                remedy="Give each project a folder of its own, or move this one away.",
            )
        return state, []

    def glance(self, *, service: str) -> MonitorState:
        """Return the state for who only looks at it: a fresh one where it cannot be read."""
        try:
            return MonitorState.read(self._state)
        except PenstockError:
            return MonitorState(service=service)

    def write(self, state: MonitorState) -> None:
        """Replace the state, whole or not at all.

        Raises:
            ServiceError: If it cannot be written.
        """
        with writing(self._state):
            state.write(self._state)

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
        with writing(self.path / kind / name):
            record.write(self.path / kind / name)

    def recent(self, kind: type[R], *, most: int) -> list[R]:
        """Return the newest records of a kind that can be read, the oldest first."""
        found = []
        for path in self._paths("windows" if kind is Looked else "verdicts")[-most:]:
            with contextlib.suppress(PenstockError):
                found.append(kind.read(path))
        return found

    def prune(self, *, keep: int) -> None:
        """Delete what was kept of the oldest looks, and what killed writes left half done."""
        for kind in ("windows", "verdicts"):
            for path in (*self._paths(kind)[:-keep], *(self.path / kind).glob(".*.json.*")):
                with contextlib.suppress(OSError):
                    path.unlink()
        for path in self.path.glob(f".{_STATE}.*"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _record(self, kind: type[R], folder: str, number: int) -> R | None:
        for path in self._paths(folder):
            if path.name.startswith(f"{number:08d}-"):
                try:
                    return kind.read(path)
                except InputError:
                    self._put_aside(path)
        return None

    def _paths(self, kind: str) -> list[Path]:
        return sorted((self.path / kind).glob("[0-9]*.json"))

    def _put_aside(self, path: Path) -> str:
        kept = path.with_name(f"{path.name}.torn")
        with writing(path):
            path.replace(kept)
        return kept.name

    def _rebuilt(self, service: str) -> MonitorState:
        verdicts = self.recent(Verdict, most=1)
        windows = self.recent(Looked, most=2)
        if not windows:
            return MonitorState(service=service)
        state = MonitorState(service=service)
        told = {one.number: one for one in verdicts}
        # A window without its verdict is of a look that was cut short: it is gone on with.
        done = [one for one in windows if one.number in told or one.number < windows[-1].number]
        for window in done[-1:]:
            state = following(
                state.model_copy(update={"number": window.number - 1}),
                window,
                told.get(window.number),
            )
        return state


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
