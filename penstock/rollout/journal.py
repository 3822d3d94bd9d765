"""The journal of one rollout: appended to and synced before anything is acted on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from penstock.errors import InputError, IntegrityError
from penstock.records.base import explain
from penstock.records.rollout import Finding, Interval, Order, Phase, Rollout, Transition
from penstock.rollout.store import Store

_ORDER = "order.json"
_APPROVED = "approved"
_ABORT = "abort"


class Journal:
    """One rollout: the lines of its store, and what people said to it in between.

    The first line is the rollout as it was planned; each line after it is a transition or an
    interval. A line that a crash cut short was not acted on, and does not count.

    Args:
        store: What keeps it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rollout: Rollout | None = None

    @property
    def name(self) -> str:
        """The rollout's identity."""
        return self._store.name

    @property
    def exists(self) -> bool:
        """Whether the rollout has begun."""
        return self._rollout is not None or bool(self._store.lines())

    @property
    def rollout(self) -> Rollout:
        """The rollout as the journal has it.

        Raises:
            InputError: If the journal is absent or holds no line.
            IntegrityError: If a line in it is not what this release writes.
        """
        if self._rollout is None:
            self._rollout = _fold(self._store.lines(), where=self._store.where)
        return self._rollout

    @property
    def order(self) -> Order | None:
        """What the rollout was asked for with; None for a rollback that a person asked for."""
        text = self._store.note(_ORDER)
        return Order.loads(text, where=f"{self._store.where}, {_ORDER}") if text else None

    def begin(self, planned: Rollout, *, reason: str, order: Order | None = None) -> None:
        """Write the order, the plan and the first transition, `deploy`."""
        self._store.clear()
        if order is not None:
            self._store.leave(_ORDER, order.dumps())
        self._append({"rollout": planned.payload()})
        self._rollout = planned
        self.go("deploy", reason=reason)

    def go(
        self,
        phase: Phase,
        *,
        reason: str,
        step: int = 0,
        weight: int = 0,
        findings: tuple[Finding, ...] = (),
    ) -> Transition:
        """Append a transition; what it says may be done once this returns."""
        rollout = self.rollout
        transition = Transition(
            sequence=len(rollout.transitions),
            time=datetime.now(UTC),
            phase=phase,
            step=step,
            weight=weight,
            reason=reason,
            findings=findings,
        )
        self._append({"transition": transition.model_dump(mode="json")})
        self._rollout = _with_transition(rollout, transition)
        return transition

    def saw(self, interval: Interval) -> None:
        """Append what was seen in an interval."""
        seen = interval.model_dump(mode="json", exclude_defaults=True)
        self._append({"interval": seen}, evidence=True)
        rollout = self.rollout
        self._rollout = rollout.model_copy(update={"intervals": (*rollout.intervals, interval)})

    def approve(self, step: int, *, by: str) -> None:
        """Let a rollout that holds at a step go on."""
        self._store.leave(f"{_APPROVED}-{step}", by)

    def approval_of(self, step: int) -> str | None:
        """Return who approved a step that holds, or None."""
        return self._store.note(f"{_APPROVED}-{step}")

    def ask_to_abort(self, reason: str) -> None:
        """Ask whoever runs this rollout to roll it back."""
        self._store.leave(_ABORT, reason)

    @property
    def abort_asked(self) -> str | None:
        """Why somebody asked to abort, or None."""
        return self._store.note(_ABORT)

    def _append(self, line: dict[str, Any], *, evidence: bool = False) -> None:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._store.append(text.encode() + b"\n", evidence=evidence)


def journals(stores: Iterable[Store]) -> list[Journal]:
    """Return the rollouts that have begun, the oldest first."""
    found = [Journal(store) for store in stores]
    return sorted((j for j in found if j.exists), key=lambda j: j.rollout.started)


def _fold(lines: list[bytes], *, where: str) -> Rollout:
    if not lines:
        raise InputError("no rollout has begun here", where=where)
    entries = list(_parsed(lines, where=where))
    rollout = Rollout.parse(entries[0].get("rollout"), where=f"{where}, line 1")
    transitions, intervals = [], []
    for number, entry in enumerate(entries[1:], start=2):
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


def _with_transition(rollout: Rollout, transition: Transition) -> Rollout:
    changes: dict[str, Any] = {"transitions": (*rollout.transitions, transition)}
    if transition.phase == "done":
        before = rollout.last
        changes["outcome"] = "promoted" if before.phase == "promote" else "rolled_back"
        changes["reason"] = before.reason
    return rollout.model_copy(update=changes)
