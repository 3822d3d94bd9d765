"""The controller: deploy, shadow, steps, promote or rollback, done. Every move is written first.

The controller keeps nothing of its own: where it stands is the journal's last transition, so a
new one, started after a crash, does what that line says once more (every action of a router is
idempotent) and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from penstock.common import progress
from penstock.errors import (
    CapacityError,
    LeaseLostError,
    PenstockError,
    ServiceError,
    UnrecordedError,
)
from penstock.records.model import Task
from penstock.records.rollout import Finding, Interval, Rollout, Transition
from penstock.rollout.analysis.judge import abort, judge, verdict_of
from penstock.rollout.ending import (
    Actions,
    Move,
    RefusedChampionError,
    give_up,
    go,
    promote,
    roll_back,
)
from penstock.rollout.journal import Journal
from penstock.rollout.objections import objection, refused
from penstock.rollout.router import Address, Release, Router, Routing
from penstock.rollout.spec import CanarySpec, ShadowSpec, StepSpec
from penstock.rollout.waiting import WaitEndedError, Waiting
from penstock.rollout.watch import Watch, persistently
from penstock.rollout.words import duration

_UNREADY_LOOKS = 3
"""Looks in a row at which a server that runs may fail its readiness probe: one may be a busy
machine, three are a server that does not serve."""

_NO_ROOM = "The candidate did not get the servers that its share of the requests takes."
_FAULT_PASSED = "Every rule passed, but a fault was injected: such a server is never promoted."


class Controller:
    """Runs one rollout from wherever its journal stands to its end.

    Args:
        router: What carries the traffic; its `exclusive()` is held by the caller.
        journal: A rollout that has begun.
        release: The candidate.
        plan: How it earns its traffic.
        task: The model's task.
        actions: Its checks in the registry and reports to it.
        prove: Checks the candidate's answers at its own address before it gets other requests;
            raises ServiceError where they are not the model's.
        ready_timeout: Seconds the candidate may take to become ready.
        tell: Notifies people that a step holds for them, in sentences; once.
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
        prove: Callable[[Address], None],
        ready_timeout: float,
        tell: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._router = router
        self._journal = journal
        self._release = release
        self._plan = plan
        self._task = task
        self._actions = actions
        self._prove = prove
        self._ready_timeout = ready_timeout
        self._tell = tell
        self._told: set[int] = set()
        self._unready = 0

    def run(self) -> Rollout:
        """Go on until the rollout is done, and return its record.

        Raises:
            LeaseLostError: If another controller took over; this one has stopped acting.
            UnrecordedError: If the journal took no line; the rollout was given up.
            ServiceError: If the service could neither be steered nor mended. The rollout is not
                done then: run it again to go on.
            KeyboardInterrupt: After the rollout was given up.
        """
        while self._journal.rollout.outcome is None:
            try:
                self._go(self._act(self._journal.rollout.last))
            except KeyboardInterrupt:
                self._interrupted()
                raise
            except UnrecordedError as error:
                self._give_up(str(error))
                raise
        return self._journal.rollout

    def _interrupted(self) -> None:
        self._give_up("Interrupted by the person who ran it.")

    def _give_up(self, reason: str) -> None:
        try:
            give_up(
                self._router,
                self._journal,
                version=self._release.version,
                actions=self._actions,
                reason=reason,
            )
        except ServiceError as error:
            progress.say(f"it could not be given up, and is to be resumed: {error}")

    def _go(self, move: Move) -> None:
        go(self._journal, move, version=self._release.version)

    def _act(self, here: Transition) -> Move:
        if here.phase == "rollback":
            return roll_back(
                self._router, self._release.version, actions=self._actions, reason=here.reason
            )
        moved = here.phase == "promote" and self._router.stable == self._release.version
        why = refused(self._actions, may_be_champion=moved)
        if why:
            return Move("rollback", why)
        if here.phase == "deploy":
            return self._deploy()
        if here.phase == "promote":
            return self._promote()
        return self._watch(here)

    def _aborted(self) -> Move | None:
        reason = self._journal.abort_requested
        return None if reason is None else Move("rollback", f"Asked to abort: {reason}")

    def _deploy(self) -> Move:
        direct = self._journal.rollout.direct
        try:
            address = self._router.deploy(self._release, timeout=self._ready_timeout)
            self._prove(address)
        except LeaseLostError:
            raise
        except PenstockError as error:
            return Move("rollback", f"The candidate did not come up. {error}")
        aborted = self._aborted()
        if aborted:
            return aborted
        if direct:
            return Move("promote", direct, weight=100)
        if self._plan.shadow.share > 0:
            return Move("shadow", "It is ready and answers holdout rows as the model itself does.")
        return self._step(0, "It is ready and answers holdout rows as the model itself does.")

    def _step(self, index: int, reason: str, findings: tuple[Finding, ...] = ()) -> Move:
        if index >= len(self._plan.steps):
            if self._journal.rollout.fault:
                return Move("rollback", _FAULT_PASSED, findings=findings)
            return Move("promote", reason, weight=100, findings=findings)
        return Move(
            "step", reason, step=index, weight=self._plan.steps[index].weight, findings=findings
        )

    def _watch(self, here: Transition) -> Move:
        version = self._release.version
        if self._router.candidate != version:
            return self._gone()
        routing = self._routing(here)
        meanwhile = self._waiting(idle=self._aborted)
        try:
            persistently(self._router, lambda: self._router.route(routing, meanwhile=meanwhile))
            persistently(
                self._router,
                lambda: self._router.set_weight(version, here.weight, meanwhile=meanwhile),
            )
        except CapacityError as error:
            return Move("rollback", f"{_NO_ROOM} {error}")
        except WaitEndedError as ended:
            return ended.move
        watch = self._begin(here)
        while True:
            self._pause()
            move = self._look(watch) or self._verdict(here)
            if move is not None:
                return move
            persistently(self._router, self._router.mend)

    def _begin(self, here: Transition) -> Watch:
        """Begin to watch a stage whose routing is in effect."""
        watch = Watch(
            self._router,
            candidate=self._release.version,
            stable=self._journal.rollout.stable or 0,
            phase=_phase(here),
            step=here.step,
            weight=here.weight,
        )
        watch.begin()
        self._unready = 0
        return watch

    def _look(self, watch: Watch) -> Move | None:
        """Write down what was seen, and return the way back from what cannot serve any more."""
        self._journal.saw(watch.look())
        health = self._router.health(self._release.version)
        self._unready = 0 if health.ready else self._unready + 1
        if health.restarts > self._plan.abort.max_restarts:
            return Move("rollback", f"The candidate's server died. {health.reason}".strip())
        if self._unready >= _UNREADY_LOOKS:
            return Move("rollback", f"The candidate is not ready any more. {health.reason}")
        return self._aborted() or objection(self._actions)

    def _waiting(self, *, idle: Callable[[], Move | None]) -> Waiting:
        """Return what judges the candidate while an action waits for servers."""
        return Waiting(
            self._router,
            self._journal,
            interval=self._plan.interval,
            begin=self._begin,
            judge=lambda watch, stage: self._look(watch) or self._harm(self._findings(stage)),
            idle=idle,
        )

    def _routing(self, here: Transition) -> Routing:
        """Return how requests find their version in a phase, besides the weight."""
        plan = self._plan
        return Routing(
            mirror=plan.shadow.share if here.phase == "shadow" else 0.0,
            sticky_header=plan.sticky_header,
            choice_header=plan.choice_header,
            grids=self._journal.rollout.grids,
        )

    def _pause(self) -> None:
        """Wait until the next look is due."""
        time.sleep(self._plan.interval)

    def _verdict(self, here: Transition) -> Move | None:
        """Return where the evidence leads, or None to look again."""
        plan, rollout = self._plan, self._journal.rollout
        stage = self._stage(here)
        findings = self._findings(here)
        harm = self._harm(findings)
        if harm is not None:
            return harm
        verdict = verdict_of(findings)
        blind = rollout.intervals[-1].blind
        waited = watched(rollout.of_step(_phase(here), here.step))
        if watched(rollout.intervals) > plan.deadline:
            reason = _too_late(findings, "deadline", plan.deadline, blind)
            return Move("rollback", reason, 0, 0, findings)
        # What passed before may not hold any more where users' requests are not seen now.
        if verdict == "pass" and waited >= stage.min_seconds and not blind:
            held = isinstance(stage, StepSpec) and stage.hold
            approved = self._journal.approval_of(here.step) if held else "the plan"
            if approved is not None:
                following = 0 if here.phase == "shadow" else here.step + 1
                return self._step(following, _passed(findings, held, approved), findings)
            self._holds(here, seconds=stage.max_wait - waited)
        if waited > stage.max_wait:
            reason = _too_late(findings, "max_wait", stage.max_wait, blind)
            return Move("rollback", reason, 0, 0, findings)
        return None

    def _stage(self, here: Transition) -> ShadowSpec | StepSpec:
        return self._plan.shadow if here.phase == "shadow" else self._plan.steps[here.step]

    def _findings(self, here: Transition) -> tuple[Finding, ...]:
        """Return what each rule finds in the evidence so far."""
        stage = self._stage(here)
        return judge(
            self._journal.rollout.intervals,
            phase=_phase(here),
            step=here.step,
            rules=self._plan.rules,
            min_samples=stage.min_samples if isinstance(stage, StepSpec) else stage.min_pairs,
            grids=self._journal.rollout.grids,
            task=self._task,
        )

    def _harm(self, findings: tuple[Finding, ...]) -> Move | None:
        """Return the way back from what is certain to do harm."""
        burst = abort(self._journal.rollout.intervals, abort=self._plan.abort)
        if burst is not None:
            return Move("rollback", burst.sentence, findings=(burst,))
        if verdict_of(findings) == "fail":
            return Move("rollback", _sentences(findings, "fail"), findings=findings)
        return None

    def _holds(self, here: Transition, *, seconds: float) -> None:
        """Notify people that a step waits for one of them; again only after a kill."""
        name = f"told-{here.step}"
        if here.step in self._told or self._journal.note(name) is not None:
            return
        if not self._tell(
            f"version {self._release.version} has passed every rule at {here.weight} % of the "
            f"requests and waits for a person, at most {duration(max(0.0, seconds))} more: "
            "penstock rollout approve, or penstock rollout abort."
        ):
            return
        self._told.add(here.step)
        try:
            self._journal.leave(name, "yes")
        except LeaseLostError:
            raise
        except ServiceError as error:
            progress.say(f"it could not be noted that people were notified: {error}")

    def _gone(self) -> Move:
        """Return the way back from a candidate that died while nobody watched."""
        reason = self._router.health(self._release.version).reason
        return Move("rollback", f"The candidate's server died. {reason}".strip())

    def _promote(self) -> Move:
        version = self._release.version
        if version not in (self._router.candidate, self._router.stable):
            return self._gone()
        aborted = self._aborted()
        if aborted and not self._actions.is_champion():
            return aborted
        try:
            # What a return leaves is worse than a good version with few servers.
            insist = self._journal.rollout.purpose != "return"
            return promote(
                self._router,
                version,
                actions=self._actions,
                insist=insist,
                meanwhile=self._waiting(idle=lambda: None),
            )
        except CapacityError as error:
            return Move("rollback", f"{_NO_ROOM} {error}")
        except WaitEndedError as ended:
            return ended.move
        except RefusedChampionError as error:
            if self._stays(error):
                raise ServiceError(
                    f"version {version} serves, and the registry did not take it as champion: "
                    f"{error}",
                    remedy="Continue with: penstock rollout resume.",
                ) from error
            return Move("rollback", f"The registry did not take the new champion. {error}")

    def _stays(self, error: RefusedChampionError) -> bool:
        """Return whether the traffic stays although the alias is not known to have moved.

        It does where a person goes back, as what users had before is not better, and where nothing
        served before and the registry only did not answer.
        """
        rollout = self._journal.rollout
        first = rollout.stable is None and rollout.champion is None
        away = isinstance(error.__cause__, ServiceError)
        return rollout.purpose == "return" or (first and away)


def _phase(here: Transition) -> Literal["shadow", "step"]:
    """Return what evidence of a stage is marked with."""
    return "shadow" if here.phase == "shadow" else "step"


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


def watched(intervals: tuple[Interval, ...]) -> float:
    """Return for how long a rollout was watched: by its evidence, whatever clocks do meanwhile."""
    return sum(interval.seconds for interval in intervals)
