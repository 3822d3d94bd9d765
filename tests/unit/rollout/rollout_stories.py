"""Rollouts that are simulated interval by interval, for the tests of what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from penstock.records.rollout import (
    ArmSummary,
    Finding,
    HistogramBuckets,
    Interval,
    Labelled,
    Outcome,
    Pairs,
    Phase,
    Rollout,
    Transition,
)
from penstock.rollout.spec import CanarySpec

START = datetime(2026, 11, 21, 5, 24, 10, tzinfo=UTC)


@dataclass
class Version:
    """How a simulated version answers."""

    errors: float = 0.0
    refusals: float = 0.0
    milliseconds: float = 3.0
    spread: float = 0.35
    shift: float = 0.0
    constant: bool = False
    loss: float = 0.08
    classes: tuple[str, ...] = ("no", "yes")


@dataclass
class Story:
    """A rollout that is told move by move; the same seed gives the same one."""

    stable: Version = field(default_factory=Version)
    candidate: Version = field(default_factory=Version)
    seed: int = 7
    rate: float = 50.0
    users: float = 0.3
    labels: float = 0.0
    agreement: float = 0.985
    grids: HistogramBuckets = field(default_factory=HistogramBuckets)
    plan: dict[str, object] = field(default_factory=dict)
    stable_version: int | None = 6
    fault: str = ""
    direct: str = ""
    now: datetime = START
    transitions: list[Transition] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def go(
        self,
        phase: Phase,
        reason: str,
        *,
        step: int = 0,
        weight: int = 0,
        findings: tuple[Finding, ...] = (),
        after: float = 0.4,
    ) -> Story:
        self.now += timedelta(seconds=after)
        self.transitions.append(
            Transition(
                sequence=len(self.transitions),
                time=self.now,
                phase=phase,
                step=step,
                weight=weight,
                reason=reason,
                findings=findings,
            )
        )
        return self

    def watch(self, count: int, *, seconds: float = 1.0) -> Story:
        here = self.transitions[-1]
        for _ in range(count):
            self.intervals.append(self._interval(here, seconds))
            self.now += timedelta(seconds=seconds)
        return self

    def away(self, seconds: float) -> Story:
        self.now += timedelta(seconds=seconds)
        return self

    def record(self, outcome: Outcome | None = None, reason: str = "") -> Rollout:
        return Rollout(
            identity="fraud-7-0001",
            service="fraud",
            router="local",
            url="http://127.0.0.1:8080",
            candidate=7,
            stable=self.stable_version,
            uri="models:/fraud/7",
            model="sha256:" + "3f" * 32,
            decision="sha256:" + "a1" * 32,
            fault=self.fault,
            direct=self.direct,
            started=START,
            plan=CanarySpec.model_validate(self.plan).model_dump(mode="json"),
            grids=self.grids,
            outcome=outcome,
            reason=reason,
            transitions=tuple(self.transitions),
            intervals=tuple(self.intervals),
        )

    def _interval(self, here: Transition, seconds: float) -> Interval:
        requests = int(self.random.poisson(self.rate * seconds))
        given = int(self.random.binomial(requests, here.weight / 100))
        copies = self._pairs(requests) if here.phase == "shadow" else Pairs()
        return Interval(
            started=self.now,
            seconds=seconds,
            phase="shadow" if here.phase == "shadow" else "step",
            step=here.step,
            weight=here.weight,
            stable=self._arm(self.stable, requests - given),
            candidate=self._arm(self.candidate, given),
            pairs=copies,
        )

    def _pairs(self, requests: int) -> Pairs:
        return Pairs(
            stable=self._arm(self.stable, requests),
            candidate=self._arm(self.candidate, requests),
            rows=requests,
            agreeing=int(self.random.binomial(requests, self.agreement)),
        )

    def _arm(self, version: Version, requests: int) -> ArmSummary:
        failed = int(self.random.binomial(requests, version.errors))
        refused = int(self.random.binomial(requests - failed, version.refusals))
        answered = requests - failed - refused
        latency = version.milliseconds / 1000 * self.random.lognormal(0, version.spread, answered)
        scores = self._scores(version, answered)
        labelled = int(self.random.binomial(answered, self.labels))
        losses = np.clip(self.random.normal(version.loss, 0.05, labelled), 0, 1)
        return ArmSummary(
            requests=requests,
            replayed=requests - int(self.random.binomial(requests, self.users)),
            client_errors=refused,
            server_errors=failed,
            latency=counts(latency, self.grids.latency),
            scores=counts(scores, self.grids.scores),
            labels=self._labels(version, scores),
            labelled=Labelled(
                requests=labelled, loss=float(losses.sum()), squared=float((losses**2).sum())
            ),
        )

    def _scores(self, version: Version, rows: int) -> np.ndarray:
        if version.constant:
            return np.full(rows, 0.31)
        if not version.classes:
            return self.random.normal(120 + version.shift, 30, rows)
        return np.clip(self.random.beta(1.3, 6, rows) + version.shift, 0, 1)

    def _labels(self, version: Version, scores: np.ndarray) -> dict[str, int]:
        if not version.classes:
            return {}
        cuts = np.quantile(
            np.linspace(0, 1, 100), np.linspace(0, 1, len(version.classes) + 1)[1:-1]
        )
        names = [version.classes[i] for i in np.searchsorted(cuts, scores)]
        return {name: names.count(name) for name in sorted(set(names))}


def counts(values: np.ndarray, edges: tuple[float, ...]) -> dict[int, int]:
    places, numbers = np.unique(np.searchsorted(edges, values, side="right"), return_counts=True)
    return dict(zip(places.tolist(), numbers.tolist(), strict=True))


def finding(rule: str, verdict: str = "pass", sentence: str = "", **fields) -> Finding:
    given = {"value": 0.001, "low": -0.008, "high": 0.011, "bound": 0.02}
    given |= {"stable_samples": 812, "candidate_samples": 804} | fields
    text = sentence or f"The candidate's {rule.replace('_', ' ')} is within the bound."
    return Finding.model_validate({"rule": rule, "verdict": verdict, "sentence": text, **given})


PASSED = (
    finding("errors"),
    finding("refusals"),
    finding("latency", value=1.04, low=0.93, high=1.17, bound=1.5),
    finding("agreement", value=0.984, low=0.96, high=0.995, bound=0.8),
    finding("scores", value=0.03, low=None, high=0.06, bound=0.2),
    finding("labels", "not judged", "No labels have come.", value=None, low=None, high=None),
)
READY = "It is ready and answers holdout rows as the model itself does."


def good() -> Rollout:
    story = Story(labels=0.05, stable=Version(errors=0.001), candidate=Version(errors=0.001))
    passed = "5 rules passed and none is open."
    story.go("deploy", "The gate approved it.", after=0.1)
    story.go("shadow", READY, after=9.2).watch(14)
    story.go("step", passed, step=0, weight=10, findings=PASSED).watch(66)
    story.go("step", passed, step=1, weight=50, findings=PASSED).watch(16)
    story.go("promote", passed, weight=100, findings=PASSED)
    story.go("done", "Version 7 serves all requests and is the champion.", after=1.4)
    return story.record("promoted", passed)


def failing(
    candidate: Version, rule: Finding, *, fault: str, shadow: int = 14, step: int = 0, **fields
) -> Rollout:
    """A rollout that goes back in the shadow phase, or in the first step if that has intervals."""
    story = Story(candidate=candidate, fault=fault, **fields)
    evidence = tuple(rule if f.rule == rule.rule else f for f in PASSED)
    story.go("deploy", "The gate approved it.", after=0.1)
    story.go("shadow", READY, after=9.2).watch(shadow)
    if step:
        passed = "5 rules passed and none is open."
        story.go("step", passed, step=0, weight=10, findings=PASSED).watch(step)
    story.go("rollback", rule.sentence, findings=evidence)
    told = "Version 7 has no traffic any more; the alias was not moved."
    story.go("done", told, after=0.8)
    return story.record("rolled_back", rule.sentence)


def with_errors() -> Rollout:
    rule = finding(
        "errors",
        "fail",
        "5.3 % of the candidate's answers were server errors, of the stable version's 0.1 %: the "
        "difference of 5.2 points is at least 2.4 with 99 % confidence, and 2 are allowed.",
        value=0.052,
        low=0.024,
        high=0.083,
    )
    return failing(
        Version(errors=0.053), rule, fault="errors", step=41, stable=Version(errors=0.001)
    )


def slow() -> Rollout:
    rule = finding(
        "latency",
        "fail",
        "The candidate's p99 latency is 3.1 times the stable version's, at least 2.4 times with "
        "99 % confidence; 1.5 are allowed.",
        value=3.1,
        low=2.4,
        high=3.9,
        bound=1.5,
    )
    return failing(Version(milliseconds=9.4, spread=0.4), rule, fault="slow")


def shifted() -> Rollout:
    rule = finding(
        "scores",
        "fail",
        "The scores of 804 rows by the candidate and 812 by the stable version lie 0.61 apart "
        "(Kolmogorov-Smirnov, 0 to 1), 0.2 allowed.",
        value=0.61,
        low=0.5,
        high=None,
        bound=0.2,
    )
    return failing(Version(shift=0.18), rule, fault="shifted-scores", agreement=0.86)


def crashed_at_start() -> Rollout:
    reason = (
        "The candidate did not come up. version 7: its server ended with code 1 before it was "
        "ready. Look into /home/me/.penstock/fraud/logs/7.log.\n"
        '  File "<string>", line 1\n<script>alert(1)</script> & more'
    )
    story = Story(fault="crash-at-start")
    story.go("deploy", "The gate approved it.", after=0.1)
    story.go("rollback", reason, after=4)
    story.go("done", "Version 7 has no traffic any more; the alias was not moved.", after=0.2)
    return story.record("rolled_back", reason)


def first_release() -> Rollout:
    reason = "It is the first release: there is nothing to compare it with."
    story = Story(stable_version=None, direct=reason)
    story.go("deploy", "The gate approved it.", after=0.1)
    story.go("promote", reason, weight=100, after=11)
    story.go("done", "Version 7 serves all requests and is the champion.", after=1)
    return story.record("promoted", reason)


def under_way() -> Rollout:
    plan = {"steps": [{"weight": 10, "hold": True}, {"weight": 40}, {"weight": 80}]}
    story = Story(plan=plan, users=1.0)
    story.go("deploy", "The gate approved it.", after=0.1)
    story.go("shadow", READY, after=9.2).watch(8).away(95).watch(6)
    story.go("step", "5 rules passed and none is open.", weight=10, findings=PASSED).watch(25)
    return story.record()


def regression() -> Rollout:
    """A long one, of numbers, with users' requests alone and nothing copied."""
    numbers = Version(classes=(), milliseconds=2400)
    story = Story(
        stable=numbers,
        candidate=Version(classes=(), milliseconds=2500, refusals=0.03),
        grids=HistogramBuckets(scores=tuple(float(edge) for edge in np.linspace(30, 210, 41))),
        plan={"shadow": {"share": 0}, "traffic": {"source": "live"}, "deadline": 90_000},
        users=1.0,
        rate=12,
    )
    story.go("deploy", "The gate approved it.", after=0.1)
    story.go("step", READY, weight=10, after=30).watch(700, seconds=10)
    story.go("step", "5 rules passed.", step=1, weight=50, findings=PASSED).watch(300, seconds=10)
    reason = "Nothing was shown within the max_wait of 600 s. Too few samples."
    story.go("rollback", reason, findings=(finding("latency", "inconclusive", low=None),))
    story.go("done", "Version 7 has no traffic any more; the alias was not moved.")
    return story.record("rolled_back", reason)


def multiclass() -> Rollout:
    names = tuple(f"class <{number}> with a rather long name" for number in range(15))
    story = Story(
        stable=Version(classes=names),
        candidate=Version(classes=names, constant=True),
        agreement=0.2,
        rate=8,
        plan={"steps": [{"weight": weight} for weight in (1, 2, 5, 10, 25, 50, 75, 90)]},
    )
    story.go("deploy", "The gate approved it.", after=0.1)
    story.go("shadow", READY, after=4).watch(4)
    for number, weight in enumerate((1, 2, 5, 10, 25, 50, 75)):
        story.go("step", "ok", step=number, weight=weight, findings=PASSED).watch(3)
    story.go("rollback", "The candidate's server died. Killed by signal 9.")
    story.go("done", "Version 7 has no traffic any more; the alias was not moved.")
    return story.record("rolled_back", "The candidate's server died. Killed by signal 9.")


def silent() -> Rollout:
    """Nobody asked anything."""
    story = Story(rate=0)
    story.go("deploy", "The gate approved it.", after=0.1)
    story.go("shadow", READY).watch(5)
    story.go("rollback", "Nothing was shown within the max_wait of 5 s.")
    story.go("done", "Version 7 has no traffic any more; the alias was not moved.")
    return story.record("rolled_back", "Nothing was shown within the max_wait of 5 s.")


def planned() -> Rollout:
    """Begun, and killed before its first transition was written."""
    return Story().record()


STORIES: dict[str, Callable[[], Rollout]] = {
    story.__name__: story
    for story in (
        good,
        with_errors,
        slow,
        shifted,
        crashed_at_start,
        first_release,
        under_way,
        regression,
        multiclass,
        silent,
        planned,
    )
}
