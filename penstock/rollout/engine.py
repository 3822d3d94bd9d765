"""The controller: deploy, shadow, steps, promote or rollback, done. Every move is written first.

The controller keeps nothing of its own: where it stands is the journal's last transition, so a
new one, started after a crash, does what that line says once more (every action of a router is
idempotent) and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from penstock import progress
from penstock.errors import LeaseLostError, PenstockError
from penstock.records.model import Task
from penstock.records.rollout import Finding, Phase, Rollout, Transition
from penstock.rollout.analysis.judge import abort, judge, verdict_of
from penstock.rollout.journal import Journal
from penstock.rollout.router import Address, Release, Router, Routing
from penstock.rollout.spec import CanarySpec, StepSpec
from penstock.rollout.watch import Watch, persistently

_UNREADY_LOOKS = 3
"""Looks in a row at which a server that runs may fail its readiness probe: one may be a busy
machine, three are a server that does not serve."""

_DRILL_PASSED = "Every rule passed, but this is a drill: a server with a fault is never promoted."


@dataclass(frozen=True)
class Actions:
    """What a rollout does besides steering traffic.

    Attributes:
        prove: Checks the candidate's answers at its own address before anybody else asks it;
            raises ServiceError where they are not the model's.
        promoted: Makes the candidate the champion in the registry. Idempotent.
        rolled_back: Notes at the candidate's version why it was rolled back. Idempotent.
    """

    prove: Callable[[Address], None]
    promoted: Callable[[], None]
    rolled_back: Callable[[str], None]


@dataclass(frozen=True)
class Move:
    """Where to go next, and why."""

    phase: Phase
    reason: str
    step: int = 0
    weight: int = 0
    findings: tuple[Finding, ...] = ()


class Controller:
    """Runs one rollout from wherever its journal stands to its end.

    Args:
        router: What carries the traffic; its `exclusive()` is held by the caller.
        journal: A rollout that has begun.
        release: The candidate.
        plan: How it earns its traffic.
        task: The model's task.
        actions: What else is to be done.
        ready_timeout: Seconds the candidate may take to become ready.
    """

    def __init__(
        self,
        *,
        router: Router,
        journal: Journal,
        release: Release,
        plan: CanarySpec,
        task: Task,
        actions: Actions,
        ready_timeout: float,
    ) -> None:
        self._router = router
        self._journal = journal
        self._release = release
        self._plan = plan
        self._task = task
        self._actions = actions
        self._ready_timeout = ready_timeout

    def run(self) -> Rollout:
        """Go on until the rollout is done, and return its record.

        Raises:
            LeaseLostError: If another controller took over; this one has stopped acting.
            ServiceError: If the service could neither be steered nor mended. The rollout is not
                done then: run it again to go on.
            KeyboardInterrupt: After the rollout was rolled back.
        """
        while self._journal.rollout.last.phase != "done":
            try:
                move = self._act(self._journal.rollout.last)
            except KeyboardInterrupt:
                reason = "Interrupted by the person who ran it."
                give_up(
                    self._router,
                    self._journal,
                    version=self._release.version,
                    note=self._actions.rolled_back,
                    reason=reason,
                )
                raise
            self._go(move)
        return self._journal.rollout

    def _go(self, move: Move) -> None:
        _go(self._journal, move, version=self._release.version)

    def _act(self, here: Transition) -> Move:
        if here.phase == "deploy":
            return self._deploy()
        if here.phase in ("shadow", "step"):
            return self._watch(here, "shadow" if here.phase == "shadow" else "step")
        if here.phase == "promote":
            return self._promote()
        return _roll_back(
            self._router, self._release.version, note=self._actions.rolled_back, reason=here.reason
        )

    def _deploy(self) -> Move:
        direct = self._journal.rollout.direct
        try:
            address = self._router.deploy(self._release, timeout=self._ready_timeout)
            self._actions.prove(address)
        except LeaseLostError:
            raise
        except PenstockError as error:
            return Move("rollback", f"The candidate did not come up. {error}")
        if direct:
            return Move("promote", direct, weight=100)
        if self._plan.shadow.share > 0:
            return Move("shadow", "It is ready and answers holdout rows as the model itself does.")
        return self._step(0, "It is ready and answers holdout rows as the model itself does.")

    def _step(self, index: int, reason: str, findings: tuple[Finding, ...] = ()) -> Move:
        if index >= len(self._plan.steps):
            if self._journal.rollout.drill:
                return Move("rollback", _DRILL_PASSED, findings=findings)
            return Move("promote", reason, weight=100, findings=findings)
        return Move(
            "step", reason, step=index, weight=self._plan.steps[index].weight, findings=findings
        )

    def _watch(self, here: Transition, phase: Literal["shadow", "step"]) -> Move:
        plan, version = self._plan, self._release.version
        if self._router.candidate != version:
            return self._gone()
        routing = Routing(
            mirror=plan.shadow.share if phase == "shadow" else 0.0,
            sticky_header=plan.sticky_header,
            choice_header=plan.choice_header,
            grids=self._journal.rollout.grids,
        )
        watch = Watch(
            self._router,
            candidate=version,
            stable=self._journal.rollout.stable or 0,
            phase=phase,
            step=here.step,
            weight=here.weight,
        )
        persistently(self._router, lambda: self._router.route(routing))
        persistently(self._router, lambda: self._router.set_weight(version, here.weight))
        watch.begin()
        unready = 0
        while True:
            time.sleep(plan.interval)
            self._journal.saw(watch.look())
            health = self._router.health(version)
            unready = 0 if health.ready else unready + 1
            if health.restarts > plan.abort.max_restarts:
                return Move("rollback", f"The candidate's server died. {health.reason}".strip())
            if unready >= _UNREADY_LOOKS:
                return Move("rollback", f"The candidate is not ready any more. {health.reason}")
            move = self._verdict(here, phase)
            if move is not None:
                return move
            persistently(self._router, self._router.mend)

    def _verdict(self, here: Transition, phase: Literal["shadow", "step"]) -> Move | None:
        """Return where the evidence leads, or None to look again."""
        plan, rollout = self._plan, self._journal.rollout
        asked = self._journal.abort_asked
        if asked is not None:
            return Move("rollback", f"Asked to abort: {asked}")
        burst = abort(rollout.intervals, abort=plan.abort)
        if burst is not None:
            return Move("rollback", burst.sentence, findings=(burst,))
        stage = plan.shadow if phase == "shadow" else plan.steps[here.step]
        findings = judge(
            rollout.intervals,
            phase=phase,
            step=here.step,
            rules=plan.rules,
            min_samples=stage.min_samples if isinstance(stage, StepSpec) else stage.min_pairs,
            grids=rollout.grids,
            task=self._task,
        )
        verdict = verdict_of(findings)
        blind = rollout.intervals[-1].blind
        if verdict == "fail":
            return Move("rollback", _sentences(findings, "fail"), findings=findings)
        waited = _seconds_since(here.time)
        if _seconds_since(rollout.started) > plan.deadline:
            reason = _too_late(findings, "deadline", plan.deadline, blind)
            return Move("rollback", reason, 0, 0, findings)
        # What passed before may not hold any more where users' requests are not seen now.
        if verdict == "pass" and waited >= stage.min_seconds and not blind:
            held = isinstance(stage, StepSpec) and stage.hold
            approved = self._journal.approval_of(here.step) if held else "the plan"
            if approved is not None:
                following = 0 if phase == "shadow" else here.step + 1
                return self._step(following, _passed(findings, held, approved), findings)
        if waited > stage.max_wait:
            reason = _too_late(findings, "max_wait", stage.max_wait, blind)
            return Move("rollback", reason, 0, 0, findings)
        return None

    def _gone(self) -> Move:
        """Return the way back from a candidate that died while nobody watched."""
        reason = self._router.health(self._release.version).reason
        return Move("rollback", f"The candidate's server died. {reason}".strip())

    def _promote(self) -> Move:
        version = self._release.version
        if version not in (self._router.candidate, self._router.stable):
            return self._gone()
        self._router.promote(version)
        try:
            self._actions.promoted()
        except LeaseLostError:
            raise
        except PenstockError as error:
            return Move("rollback", f"The registry did not take the new champion. {error}")
        self._router.clean_up()
        done = f"Version {version} serves all requests and is the champion."
        return Move("done", done, weight=100)


def give_up(
    router: Router, journal: Journal, *, version: int, note: Callable[[str], None], reason: str
) -> Rollout:
    """Roll a rollout back from wherever it stands, and return its record.

    Args:
        router: What carries the traffic; its `exclusive()` is held by the caller.
        journal: The rollout.
        version: Its candidate.
        note: Notes the reason at the candidate's version.
        reason: Why.
    """
    if journal.rollout.last.phase not in ("rollback", "done"):
        _go(journal, Move("rollback", reason), version=version)
    if journal.rollout.last.phase != "done":
        move = _roll_back(router, version, note=note, reason=journal.rollout.last.reason)
        _go(journal, move, version=version)
    return journal.rollout


def _roll_back(router: Router, version: int, *, note: Callable[[str], None], reason: str) -> Move:
    router.rollback(version)
    outcome = f"Version {version} has no traffic any more and is not the champion."
    try:
        note(reason)
    except PenstockError as error:
        # The traffic is back, which is what counts; the note is for people.
        outcome += f" The registry could not be told: {error}"
    router.clean_up()
    return Move("done", outcome)


def _go(journal: Journal, move: Move, *, version: int) -> None:
    transition = journal.go(
        move.phase, reason=move.reason, step=move.step, weight=move.weight, findings=move.findings
    )
    if transition.phase != "done":
        progress.say(_told(transition, version))


def _told(transition: Transition, version: int) -> str:
    words = {
        "shadow": f"version {version} answers copies of requests",
        "step": f"version {version} at {transition.weight} %",
        "promote": f"version {version} at 100 %",
        "rollback": f"version {version} rolled back: {transition.reason}",
    }
    return words.get(transition.phase, transition.reason)


def _sentences(findings: tuple[Finding, ...], verdict: str) -> str:
    return " ".join(finding.sentence for finding in findings if finding.verdict == verdict)


def _passed(findings: tuple[Finding, ...], held: bool, approved: str) -> str:
    passed = sum(finding.verdict == "pass" for finding in findings)
    by = f" Approved by {approved}." if held else ""
    return f"{passed} rules passed and none is open.{by}"


def _too_late(findings: tuple[Finding, ...], limit: str, seconds: float, blind: str) -> str:
    missing = _sentences(findings, "inconclusive")
    missing = " ".join(filter(None, (blind, missing))) or "It was not approved in time."
    return f"Nothing was shown within the {limit} of {seconds:g} s. {missing}"


def _seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()
