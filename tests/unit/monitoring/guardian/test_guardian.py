"""Whether a champion does harm: readings in, a decision out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from penstock.monitoring.guardian.harm import after_reading, guard_of, unguarded
from penstock.monitoring.settings.monitoring import GuardianSpec
from penstock.records.guard import Guard
from penstock.records.rollout import (
    ArmSummary,
    HistogramBuckets,
    Interval,
    Labelled,
    Rollout,
    Transition,
)

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
EDGES = HistogramBuckets().latency
SPEC = GuardianSpec()
FAST, SLOW = 80, 140
"""Bins of the histogram: 5 and 90 ms."""


def arm(
    requests: int, *, errors: int = 0, slow: int = 0, labels: int = 0, loss: float = 0.1
) -> ArmSummary:
    answers = requests - errors
    latency = {FAST: answers - slow, SLOW: slow}
    return ArmSummary(
        requests=requests,
        server_errors=errors,
        latency={place: count for place, count in latency.items() if count},
        labelled=Labelled(requests=labels, loss=labels * loss, squared=labels * (loss**2 + 0.04)),
    )


def promotion(stable: ArmSummary, candidate: ArmSummary | None = None, **changes: Any) -> Rollout:
    interval = Interval(
        started=BEGIN,
        seconds=60,
        phase="step",
        weight=50,
        stable=stable,
        candidate=candidate or arm(0),
    )
    return Rollout(
        identity="2-run",
        service="shop",
        router="local",
        url="",
        candidate=2,
        stable=1,
        uri="models:/shop/2",
        model="",
        decision="",
        started=BEGIN,
        plan={},
        outcome="promoted",
        transitions=(Transition(sequence=0, time=BEGIN, phase="done", reason=""),),
        intervals=(interval,),
    ).model_copy(update=changes)


def fresh(stable: ArmSummary, *, before: Guard | None = None) -> Guard:
    return guard_of(promotion(stable), before=before, edges=EDGES, spec=SPEC)


class Service:
    """A champion that answers, and is read once a minute."""

    def __init__(self, guard: Guard, *, requests: int = 60) -> None:
        self.guard, self.total, self.requests = guard, ArmSummary(), requests
        self.minute, self.epoch = 0, "a"
        self.rng = np.random.default_rng(1)

    def read(
        self, minutes: int = 1, *, errors: float = 0.001, every: int = 1, **more: Any
    ) -> int | None:
        """Answer for so long; return the minutes after which there was harm."""
        for after in range(every, minutes + 1, every):
            requests = self.requests * every
            failed = int(self.rng.binomial(requests, errors))
            slow = int(self.rng.binomial(requests - failed, more.get("slow", 0.002)))
            given = {name: more[name] for name in ("labels", "loss") if name in more}
            self.total = self.total.plus(arm(requests, errors=failed, slow=slow, **given))
            self.minute += every
            counted = {"epoch": self.epoch, "arm": self.total.model_dump(mode="json")}
            self.guard = after_reading(
                self.guard,
                counted,
                now=BEGIN + timedelta(minutes=self.minute),
                spec=SPEC,
                drifted=more.get("drifted", False),
            )
            if self.guard.harm:
                return after
        return None


GOOD = arm(3000, errors=3, slow=6, labels=500)


def test_limits_are_what_the_champion_before_showed_its_sampling_error_and_a_tolerance() -> None:
    guard = fresh(GOOD)
    limits = {limit.signal: limit for limit in guard.limits}
    assert (guard.version, guard.former, guard.rollout) == (2, 1, "2-run")
    # Wilson's upper end at 2.5 standard errors of 3 in 3,000 is 0.00381.
    assert limits["errors"].greatest == pytest.approx(0.02381, abs=1e-5)
    # p99 lies in the bin of the fast answers, which ends at 5.2 ms.
    assert limits["latency"].line == pytest.approx(1.5 * EDGES[FAST], rel=0.05)
    assert limits["latency"].line >= 1.5 * EDGES[FAST]
    assert limits["latency"].expected == pytest.approx(6 / 2997)
    # 0.1, 0.05, and 2.5 times the root of (0.04 + 1/500) / 500.
    assert limits["loss"].greatest == pytest.approx(0.1729, abs=1e-4)


def test_a_small_canary_allows_for_more() -> None:
    few, many = fresh(arm(200, labels=200)), fresh(arm(20_000, labels=20_000))
    for small, large in zip(few.limits, many.limits, strict=True):
        assert small.greatest > large.greatest


def test_what_the_champion_before_did_not_show_is_not_guarded() -> None:
    guard = fresh(arm(150))
    assert [limit.signal for limit in guard.limits] == ["errors"]
    assert guard.open == (
        "Latency is not guarded: 150 answers of the previous champion are too few to compare with.",
        "The loss is not guarded: 0 labelled requests of the previous champion are too few to "
        "compare with.",
    )


def test_what_was_counted_while_it_was_guarded_counts_where_it_is_more() -> None:
    before = unguarded(1, since=BEGIN).model_copy(update={"seen": arm(50_000, errors=500)})
    errors = fresh(GOOD, before=before).limits[0]
    assert (errors.reference, errors.expected) == (50_000, 0.01)
    replayed = before.model_copy(
        update={"seen": arm(50_000).model_copy(update={"replayed": 49_000})}
    )
    assert fresh(GOOD, before=replayed).limits[0].reference == 3000
    other = before.model_copy(update={"version": 7})
    assert fresh(GOOD, before=other).limits[0].reference == 3000


@pytest.mark.parametrize("days", [0, 1 / 24, 1, pytest.param(30, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("harm", "within", "said"),
    [
        ({"errors": 1.0}, 8, "the share of requests that its server fails is 100.00%"),
        ({"errors": 0.2}, 20, "version 1 had 0.10%, and up to 2.38% is no harm"),
        ({"slow": 0.9}, 14, "the share of answers that take 0.00769 s or more"),
        ({"labels": 60, "loss": 0.6}, 25, "its mean loss on labelled requests is 0.6000"),
    ],
)
def test_harm_is_found_whenever_it_begins(
    days: float, harm: dict[str, Any], within: int, said: str
) -> None:
    service = Service(fresh(GOOD))
    assert service.read(round(days * 1440), every=60 if days else 1, labels=60) is None
    delay = service.read(60, **{"labels": 60, **harm})
    assert delay is not None
    assert delay <= within
    found = service.guard.harm
    assert found.returns
    assert said in found.reason


def test_worse_within_the_tolerance_is_no_harm_however_long() -> None:
    service = Service(fresh(arm(3000, labels=500)), requests=6000)
    assert service.read(30 * 1440, every=60, errors=0.015, slow=0.02, labels=6, loss=0.12) is None


def test_one_minute_in_which_all_fails_is_no_harm() -> None:
    service = Service(fresh(GOOD))
    for _ in range(10):
        assert service.read(1, errors=1.0) is None
        assert service.read(1440, every=60) is None


def test_few_requests_are_put_together_until_they_are_a_block() -> None:
    service = Service(fresh(GOOD), requests=1)
    assert service.read(19, errors=1.0) is None
    assert service.guard.log_evidence < -100
    assert service.read(180, errors=1.0) is not None


def test_no_request_is_no_evidence() -> None:
    service = Service(fresh(GOOD), requests=0)
    assert service.read(200) is None


def test_what_the_canary_counted_does_not_count_again() -> None:
    canary = arm(1000, errors=500)
    guard = fresh(GOOD)
    counted = {"epoch": "a", "arm": canary.plus(arm(100)).model_dump(mode="json")}
    now = BEGIN + timedelta(minutes=1)
    read = after_reading(guard, counted, now=now, spec=SPEC, canary=canary)
    assert (read.seen.requests, read.seen.server_errors) == (100, 0)
    # A proxy that was started again has forgotten the canary.
    counted["arm"] = arm(90, errors=9).model_dump(mode="json")
    read = after_reading(guard, counted, now=now, spec=SPEC, canary=canary)
    assert (read.seen.requests, read.seen.server_errors) == (90, 9)


def test_a_proxy_that_was_started_again_counts_from_nothing() -> None:
    service = Service(fresh(GOOD))
    service.read(5)
    service.total, service.epoch = ArmSummary(), "b"
    service.read(5)
    assert service.guard.seen.requests == 600


def test_a_clock_that_was_set_back_is_no_evidence() -> None:
    service = Service(fresh(GOOD))
    service.read(100)
    service.minute -= 5000
    assert service.read(200) is None
    assert service.read(20, errors=1.0) is not None


def test_a_loss_that_rises_as_the_data_change_is_for_a_person_to_judge() -> None:
    service = Service(fresh(GOOD))
    assert service.read(60, labels=60, loss=0.6, drifted=True)
    assert not service.guard.harm.returns
    assert "version 1 may do no better: a person decides." in service.guard.harm.reason
    service = Service(fresh(GOOD))
    assert service.read(60, errors=0.9, drifted=True)
    assert service.guard.harm.returns


def test_a_version_that_is_not_guarded_is_counted_only() -> None:
    service = Service(unguarded(1, since=BEGIN))
    assert service.read(100, errors=1.0) is None
    assert service.guard.seen.requests == 6000


def test_a_guard_survives_its_record() -> None:
    service = Service(fresh(GOOD))
    service.read(3, errors=0.5)
    again = Guard.model_validate_json(service.guard.model_dump_json())
    assert again == service.guard
