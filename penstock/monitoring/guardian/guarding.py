"""The guardian at work: reads what a champion answers, and gives its place back where it harms.

What it read and concluded is written before it acts, in the monitor's state; what it did, after.
Killed between, it acts again: a return that has begun is ended, and one that is done is found done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from penstock.errors import LeaseLostError, PenstockError
from penstock.monitoring.guardian.harm import after_reading, edges_of, guard_of, unguarded
from penstock.records.guard import Guard, Harm
from penstock.records.monitoring import Action, MonitorState, Notice
from penstock.records.rollout import ArmSummary, Rollout, total

if TYPE_CHECKING:
    from penstock.monitoring.settings.monitoring import GuardianSpec
    from penstock.monitoring.store.collect import Reading
    from penstock.rollout.spec import DeploymentSpec
    from penstock.rollout.store import Store
    from penstock.rollout.target import Target

_LONGEST = timedelta(hours=6)
"""Between two attempts at a return that does not succeed."""


def _drifted(state: MonitorState) -> bool:
    return state.verdict is not None and state.verdict.drift is not None


@dataclass(frozen=True)
class Guardian:
    """Guards the champion of one service.

    Attributes:
        spec: The section `monitoring.guardian`.
        deployment: The section `deployment`.
        target: Returns where the service lives.
        read: Returns what was counted of what serves; None where that is not known now.
        tracking_uri: Returns the MLflow store.
        drifted: Tells from the state whether an alarm on the data stands; None: not known.
    """

    spec: GuardianSpec
    deployment: DeploymentSpec
    target: Callable[[], Target]
    read: Callable[[], Reading | None]
    tracking_uri: Callable[[], str]
    drifted: Callable[[MonitorState], bool | None] = _drifted

    def step(
        self,
        state: MonitorState,
        *,
        now: datetime,
        write: Callable[[MonitorState], None],
        link: str = "",
    ) -> tuple[MonitorState, list[str]]:
        """Read the counters once, and act on what is shown.

        What fails is said and not raised: the service is as it was, and the next step tries again.

        Args:
            state: The monitor's.
            now: The time.
            write: Keeps the state; whole or not at all.
            link: Where the page is, for messages.

        Returns:
            The state, written, and what is to be said.

        Raises:
            ServiceError: If the state cannot be written; nothing was done then that is not found
                again.
        """
        if self.spec.mode == "never":
            return state, []
        try:
            guard = self._seen(state, now=now)
        except PenstockError as error:
            return state, [f"The guardian cannot look: {error}"]
        if guard is None:
            return state, []
        state = state.model_copy(update={"guard": guard})
        write(state)
        if guard.harm is None:
            return state, []
        if self._acts(guard):
            if guard.next_try is not None and now < guard.next_try:
                return state, []
            state, said = self._returned(state, guard, now=now, link=link)
        else:
            advice = "Go back with: penstock rollback."
            state, said = _told(state, guard, advice, now=now, link=link)
        write(state)
        return state, said

    def _acts(self, guard: Guard) -> bool:
        return self.spec.mode == "automatic" and guard.harm is not None and guard.harm.returns

    def _seen(self, state: MonitorState, *, now: datetime) -> Guard | None:
        """Return the guard after a reading; as it was where harm is to be acted on."""
        before = state.guard
        if before is not None and before.harm is not None and self._acts(before):
            return before
        reading = self.read()
        if reading is None:
            return before
        guard, canary = self._guard(reading, before, now=now)
        if guard.version != reading.version:
            return guard
        return after_reading(
            guard,
            reading.counted,
            now=now,
            spec=self.spec,
            canary=canary,
            drifted=self.drifted(state),
        )

    def _guard(
        self, reading: Reading, before: Guard | None, *, now: datetime
    ) -> tuple[Guard, ArmSummary | None]:
        """Return the guard of the version that serves, and what it answered before promotion."""
        stores = self.target().stores()
        if (left := _left(stores, now=now)) is not None:
            return left, None
        if before is not None and _being_promoted(stores, reading.version):
            return before, None
        newest = stores[-1].name if stores and stores[-1].ended else ""
        same = before is not None and before.version == reading.version
        if before is not None and same and before.newest == newest != "":
            return before, None
        last = _last_promoted(stores)
        if before is not None and same and before.rollout == (last.identity if last else ""):
            return before.model_copy(update={"newest": newest}), None
        version = reading.version
        if last is None or last.candidate != version:
            why = f"It is not known how version {version} became the champion."
        elif last.purpose == "return":
            why = f"Version {version} was returned to: it is guarded against nothing."
        elif last.stable is None:
            why = f"Version {version} is the first: there is none to return to."
        else:
            guard = guard_of(
                last,
                before=before,
                edges=edges_of(reading.counted),
                spec=self.spec,
                newest=newest,
                bins=reading.counted.get("bins", ""),
            )
            if "bins" in reading.counted:
                # Of users alone, which a canary on a cluster counts together with its own.
                return guard, None
            return guard, total(each.candidate for each in last.intervals)
        guard = unguarded(version, since=now, newest=newest, why=why)
        known = last.identity if last is not None and last.candidate == version else ""
        return guard.model_copy(update={"rollout": known}), None

    def _returned(
        self, state: MonitorState, guard: Guard, *, now: datetime, link: str
    ) -> tuple[MonitorState, list[str]]:
        from penstock.rollout.returning import return_champion

        harm, former = guard.harm, guard.former
        assert harm is not None
        assert former is not None
        try:
            done = return_champion(
                self.target(),
                spec=self.deployment,
                tracking_uri=self.tracking_uri(),
                champion=guard.version,
                to=former,
                reason=harm.reason,
            )
        except LeaseLostError as error:
            return state, [f"The guardian was stopped: {error}"]
        except PenstockError as error:
            return self._failed(state, guard, error, now=now, link=link)
        if done is None:
            said = f"Version {guard.version} does not serve any more: nothing was returned."
            return state.model_copy(update={"guard": None}), [said]
        return _recorded(state, guard, done, now=now, link=link)

    def _failed(
        self, state: MonitorState, guard: Guard, error: PenstockError, *, now: datetime, link: str
    ) -> tuple[MonitorState, list[str]]:
        pause = timedelta(seconds=self.spec.seconds) * 2 ** min(guard.tries, 20)
        guard = guard.model_copy(
            update={"tries": guard.tries + 1, "next_try": now + min(pause, _LONGEST)}
        )
        state = state.model_copy(update={"guard": guard})
        problem = f"Version {guard.former} could not be returned to, and version {guard.version} "
        problem += f"serves on: {error}"
        state, said = _told(state, guard, problem, now=now, link=link)
        return state, said or [problem]


def _left(stores: list[Store], *, now: datetime) -> Guard | None:
    """Return the guard whose return was begun and not ended, where the state has lost it."""
    from penstock.rollout.journal import unfinished
    from penstock.rollout.returning import is_guardians

    for journal in unfinished(stores[-1:]):
        rollout = journal.rollout
        if is_guardians(journal) and rollout.champion is not None:
            reason = rollout.direct.partition(". ")[2]
            harm = Harm(time=rollout.started, signals=(), reason=reason, returns=True)
            return Guard(version=rollout.champion, former=rollout.candidate, since=now, harm=harm)
    return None


def _being_promoted(stores: list[Store], version: int) -> bool:
    """Return whether a rollout has given a version all requests and has not ended yet."""
    from penstock.rollout.journal import unfinished

    return any(
        journal.rollout.candidate == version and journal.rollout.last.phase == "promote"
        for journal in unfinished(stores[-1:])
    )


def _last_promoted(stores: list[Store]) -> Rollout | None:
    """Return the rollout that brought the version up that serves: the last that was promoted."""
    from penstock.rollout.journal import Journal

    for store in reversed(stores):
        journal = Journal(store)
        if journal.exists and journal.rollout.outcome == "promoted":
            return journal.rollout
    return None


def _told(
    state: MonitorState, guard: Guard, advice: str, *, now: datetime, link: str
) -> tuple[MonitorState, list[str]]:
    """Notify people that a champion does harm, once."""
    if guard.notified or guard.harm is None:
        return state, []
    text = f"{state.service}: {guard.harm.reason} {advice}"
    guard = guard.model_copy(update={"notified": True})
    outbox = (*state.outbox, _notice(state, guard, "harm", text, now=now, link=link))
    return state.model_copy(update={"guard": guard, "outbox": outbox}), [text]


def _recorded(
    state: MonitorState, guard: Guard, done: Rollout, *, now: datetime, link: str
) -> tuple[MonitorState, list[str]]:
    assert guard.harm is not None
    version = done.candidate
    text = (
        f"{state.service}: version {version} is the champion again. {guard.harm.reason} "
        f"The return is recorded as rollout {done.identity}."
    )
    action = Action(kind="returned", time=now, number=state.number, reason=text)
    totals = dict(state.totals.actions)
    totals["returned"] = totals.get("returned", 0) + 1
    why = f"Version {version} was returned to: it is guarded against nothing."
    fresh = unguarded(version, since=now, why=why).model_copy(update={"rollout": done.identity})
    return state.model_copy(
        update={
            "guard": fresh,
            "actions": (*state.actions, action),
            "totals": state.totals.model_copy(update={"actions": totals}),
            "outbox": (
                *state.outbox,
                _notice(state, guard, "returned", text, now=now, link=link),
            ),
        }
    ), [text]


def _notice(
    state: MonitorState, guard: Guard, event: str, text: str, *, now: datetime, link: str
) -> Notice:
    assert guard.harm is not None
    page = f" Page: {link}" if link else ""
    return Notice(
        identity=f"{state.service}-{guard.version}-{event}-{guard.harm.time:%Y%m%dT%H%M%S}",
        event=event,
        text=text + page,
        time=now,
    )
