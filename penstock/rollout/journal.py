"""The journal of one rollout: appended to and synced before anything is acted on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from penstock.common import progress
from penstock.errors import (
    InputError,
    IntegrityError,
    LeaseLostError,
    ServiceError,
    UnrecordedError,
)
from penstock.records.base import explain
from penstock.records.experiment import ExperimentOrder
from penstock.records.rollout import (
    Finding,
    Interval,
    Order,
    Phase,
    ReturnOrder,
    Rollout,
    Transition,
)
from penstock.rollout.analysis.strata import compacted
from penstock.rollout.store import Store

_ORDER = "order.json"
_APPROVED = "approved"
_ABORT = "abort"


class Journal:
    """One rollout: the lines of its store, and people's approvals and aborts in between.

    The first line is the rollout as it was planned, its inputs, and its first
    transition; each line after it is a transition or an interval. A line that a crash cut short was
    not acted on, and does not count: a rollout has begun once its first line is whole.

    Args:
        store: What keeps it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rollout: Rollout | None = None
        self._order: Order | ReturnOrder | None = None
        self._refused = b""

    @property
    def name(self) -> str:
        """The rollout's identity."""
        return self._store.name

    @property
    def exists(self) -> bool:
        """Whether the rollout has begun."""
        return self._rollout is not None or _has_begun(self._store.lines())

    @property
    def rollout(self) -> Rollout:
        """The rollout as the journal has it.

        Raises:
            InputError: If the rollout has not begun.
            IntegrityError: If a line in it is not what this release writes.
        """
        if self._rollout is None:
            self._rollout = _fold(self._store.lines(), where=self._store.where)
        return self._rollout

    @property
    def order(self) -> Order | ReturnOrder | None:
        """The inputs of the rollout.

        None where an earlier release did not keep it, as of a return to an earlier champion.
        """
        if self._order is None:
            self._order = self._read_order()
        return self._order

    def begin(
        self, planned: Rollout, *, reason: str, order: Order | ReturnOrder | None = None
    ) -> None:
        """Write the plan, the order and the first transition, `deploy`, in one line.

        Raises:
            UnrecordedError: If the store does not take it; the rollout has not begun then.
        """
        first = _transition(planned, "deploy", reason=reason)
        line = {
            "rollout": planned.payload(),
            "order": order.payload() if order is not None else None,
            "transition": first.model_dump(mode="json"),
        }
        try:
            self._store.clear()
        except LeaseLostError:
            raise
        except (OSError, ServiceError) as error:
            raise _unrecorded(self._store, error) from error
        self._append(line)
        self._rollout, self._order = _with_transition(planned, first), order

    def go(
        self,
        phase: Phase,
        *,
        reason: str,
        step: int = 0,
        weight: int = 0,
        findings: tuple[Finding, ...] = (),
        notified: bool = True,
    ) -> Transition:
        """Append a transition; what it says may be done once this returns.

        A way back does not wait for its line: where the store does not take it, this process goes
        on all the same and hands it in with the next one; a process after it finds the line before
        and does the same once more.

        Raises:
            UnrecordedError: If the store does not take a line that leads forward.
        """
        rollout = self.rollout
        transition = _transition(
            rollout,
            phase,
            reason=reason,
            step=step,
            weight=weight,
            findings=findings,
            notified=notified,
        )
        try:
            self._append({"transition": transition.model_dump(mode="json")})
        except UnrecordedError as error:
            if phase not in ("rollback", "done") and rollout.purpose != "return":
                raise
            self._refused += _text({"transition": transition.model_dump(mode="json")})
            progress.say(str(error))
        self._rollout = _with_transition(rollout, transition)
        self.mark()
        return transition

    def mark(self) -> None:
        """See to it that a rollout that has ended is known as such without reading its journal."""
        if self._store.ended or self._refused or not self.rollout.ended:
            return
        # Where it is not taken, the journal is read once more, and says the same.
        with contextlib.suppress(OSError, ServiceError):
            self._store.end(self.rollout.outcome or "")

    def saw(self, interval: Interval) -> None:
        """Append what was seen in an interval.

        Raises:
            UnrecordedError: If the store does not take it.
        """
        seen = interval.model_dump(mode="json", exclude_defaults=True)
        self._append({"interval": seen}, evidence=True)
        rollout = self.rollout
        self._rollout = rollout.model_copy(update={"intervals": (*rollout.intervals, interval)})
        if self._store.crowded:
            self.shorten()

    def approve(self, step: int, *, by: str) -> None:
        """Let a rollout that holds at a step go on."""
        self._store.leave(f"{_APPROVED}-{step}", by)

    def approval_of(self, step: int) -> str | None:
        """Return who approved a step that holds, or None."""
        return self._store.note(f"{_APPROVED}-{step}")

    def request_abort(self, reason: str) -> None:
        """Leave a note that the rollout is to be rolled back; its controller reads it."""
        self._store.leave(_ABORT, reason)

    @property
    def abort_requested(self) -> str | None:
        """Why an abort was requested, or None."""
        return self._store.note(_ABORT)

    def leave(self, name: str, text: str) -> None:
        """Leave a note beside the lines, over any of the same name: its controller reads it."""
        self._store.leave(name, text)

    def note(self, name: str) -> str | None:
        """Return a note, or None if nobody left it."""
        return self._store.note(name)

    def shorten(self) -> None:
        """Put old intervals together, which judges the same: the journal must fit its store."""
        first = self._store.lines()[0]
        rollout = self.rollout.model_copy(update={"intervals": compacted(self.rollout.intervals)})
        if len(rollout.intervals) == len(self.rollout.intervals):
            return
        held = first.count(b'"transition":')
        later = [
            {"transition": each.model_dump(mode="json")} for each in rollout.transitions[held:]
        ]
        seen = [
            {"interval": each.model_dump(mode="json", exclude_defaults=True)}
            for each in rollout.intervals
        ]
        try:
            self._store.rewrite([first, *(_text(line) for line in (*later, *seen))])
        except LeaseLostError:
            raise
        except (OSError, ServiceError) as error:
            raise _unrecorded(self._store, error) from error
        self._rollout, self._refused = rollout, b""

    def _read_order(self) -> Order | ReturnOrder | None:
        first = next(_parsed(self._store.lines()[:1], where=self._store.where), {})
        raw, where = first.get("order"), f"{self._store.where}, line 1"
        if raw is None:
            # An earlier release kept it beside the journal.
            text = self._store.note(_ORDER)
            return Order.loads(text, where=f"{self._store.where}, {_ORDER}") if text else None
        kind = raw.get("record") if isinstance(raw, dict) else None
        kinds: tuple[type[Order | ReturnOrder], ...] = (ReturnOrder, ExperimentOrder)
        found = next((each for each in kinds if kind == f"penstock/{each.KIND}"), Order)
        return found.parse(raw, where=where)

    def _append(self, line: dict[str, Any], *, evidence: bool = False) -> None:
        try:
            self._store.append(self._refused + _text(line), evidence=evidence)
            self._refused = b""
        except LeaseLostError:
            raise
        except (OSError, ServiceError) as error:
            raise _unrecorded(self._store, error) from error


def unfinished(stores: Iterable[Store]) -> list[Journal]:
    """Return the rollouts for which something is left to be done; what is marked is not read."""
    found = [Journal(store) for store in stores if not store.ended]
    return [journal for journal in found if journal.exists and not journal.rollout.ended]


def _has_begun(lines: list[bytes]) -> bool:
    """Return whether there is a plan and a transition; an earlier release wrote two lines."""
    return b'"transition":' in b"".join(lines[:2])


def _fold(lines: list[bytes], *, where: str) -> Rollout:
    if not _has_begun(lines):
        raise InputError("no rollout has begun here", where=where)
    entries = list(_parsed(lines, where=where))
    first = entries[0]
    rollout = Rollout.parse(first.pop("rollout", None), where=f"{where}, line 1")
    transitions: list[Transition] = []
    intervals: list[Interval] = []
    for number, entry in enumerate(entries, start=1):
        if entry is first and "transition" not in first:
            continue
        try:
            if "transition" in entry:
                transitions.append(Transition.model_validate(entry["transition"]))
            else:
                intervals.append(Interval.model_validate(entry["interval"]))
        except ValidationError as error:
            raise _damaged(where, number, explain(error)) from error
        except KeyError as error:
            raise _damaged(where, number, "neither a transition nor an interval") from error
    folded = rollout.model_copy(update={"intervals": tuple(intervals)})
    for transition in transitions:
        folded = _with_transition(folded, transition)
    return folded


def _parsed(lines: list[bytes], *, where: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise _damaged(where, number, error) from error
        if not isinstance(entry, dict):
            raise _damaged(where, number, "not an object")
        yield entry


def _damaged(where: str, number: int, error: object) -> IntegrityError:
    return IntegrityError(
        f"line {number} of the journal is damaged: {error}",
        where=where,
        remedy="Move the folder of this rollout away, then look: penstock status.",
    )


def _text(line: dict[str, Any]) -> bytes:
    text = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode() + b"\n"


def _unrecorded(store: Store, error: Exception) -> UnrecordedError:
    message, remedy = str(error), ""
    if isinstance(error, ServiceError):
        message, remedy = error.what, error.remedy
    return UnrecordedError(
        f"the journal of the rollout could not be written: {message}",
        where=store.where,
        remedy=remedy or "Find the reason, then continue with: penstock rollout resume.",
    )


def _transition(rollout: Rollout, phase: Phase, **fields: Any) -> Transition:
    return Transition(
        sequence=len(rollout.transitions), time=datetime.now(UTC), phase=phase, **fields
    )


def _with_transition(rollout: Rollout, transition: Transition) -> Rollout:
    changes: dict[str, Any] = {"transitions": (*rollout.transitions, transition)}
    if transition.phase == "done" and rollout.outcome is None:
        before = rollout.last
        changes["outcome"] = "promoted" if before.phase == "promote" else "rolled_back"
        changes["reason"] = before.reason
    return rollout.model_copy(update=changes)
