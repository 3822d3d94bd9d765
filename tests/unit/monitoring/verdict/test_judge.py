"""The verdict on a look: never healthy for lack of data, slow to change back, and it says why."""

from __future__ import annotations

import math

import pytest
from monitor_parts import BEGIN, HOUR, THRESHOLD, Watch, drift, signal, worth

from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.verdict.judge import bound
from penstock.records.figures import DueLabels, ServiceFigures, Volume


def test_rows_without_evidence_are_healthy() -> None:
    verdict = Watch().look()
    assert (verdict.kind, verdict.advice, verdict.suggests) == ("healthy", (), "")
    assert "1,000 rows" in verdict.reasons[0]


def test_watch_begins_at_a_tenth_of_the_evidence_of_an_alarm() -> None:
    tenth = THRESHOLD + math.log(0.1)
    assert Watch().look(drift=drift(tenth - 0.01)).kind == "healthy"
    verdict = Watch().look(drift=drift(tenth + 0.01, signal(evidence=tenth)))
    assert verdict.kind == "watch"
    assert "amount: 80.0 % (79.0 % to 81.0 %) of the rows are at most 30" in verdict.reasons[0]
    assert verdict.drift is None


def test_an_alarm_names_columns_in_order_with_size_interval_and_tolerance() -> None:
    watch = Watch()
    verdict = watch.look(
        drift=drift(9, signal("income: at most 9", evidence=6.5), signal(evidence=8.5))
    )
    assert verdict.kind == "drifted"
    assert verdict.columns == ("amount", "income")
    assert verdict.since == verdict.drift.guilty[0].since
    assert "Expected are 50.0 %; 40.0 % to 60.0 % are no drift" in verdict.reasons[0]
    assert "at most 1 a year" in verdict.bound
    assert "carries no such bound" in verdict.bound


def test_the_bound_is_the_one_that_was_set() -> None:
    assert "at most one in 4 years" in bound(MonitoringSpec(false_alarms_per_year=0.25))


def test_what_has_little_of_the_evidence_is_not_named() -> None:
    verdict = Watch().look(drift=drift(9, signal(evidence=8.9), signal("age: missing", evidence=3)))
    assert verdict.columns == ("amount",)


def test_many_signals_of_a_column_leave_room_for_others() -> None:
    many = [signal(f"amount: at most {n}", evidence=9 - n / 100) for n in range(20)]
    verdict = Watch().look(drift=drift(10, *many, signal("age: missing", evidence=7)))
    assert [len(ours) for ours in verdict.drift.by_column.values()] == [3, 1]
    assert verdict.columns == ("amount", "age")


def test_an_alarm_ends_only_well_inside_the_tolerance() -> None:
    watch = Watch()
    watch.look(drift=drift(9, signal()))
    # The evidence that was gathered stays; what counts is where the signal lies now.
    assert watch.look(drift=drift(9, signal(excess=0.9))).kind == "drifted"
    assert watch.look(drift=drift(9, signal(excess=0.8))).kind == "drifted"
    assert not watch.state.rearm
    verdict = watch.look(drift=drift(9, signal(excess=0.6)))
    # Until it begins anew at the next look, what was gathered before is still there.
    assert (verdict.kind, verdict.recovered) == ("watch", True)
    assert verdict.drift is None
    assert watch.state.rearm


def test_a_few_rows_do_not_end_an_alarm() -> None:
    watch = Watch()
    watch.look(drift=drift(9, signal()))
    assert watch.look(rows=20, drift=drift(9, signal(excess=0.1))).kind == "drifted"


def test_a_signal_that_was_not_seen_does_not_end_an_alarm() -> None:
    watch = Watch()
    watch.look(drift=drift(9, signal()))
    assert watch.look(drift=drift(2)).kind == "drifted"


def test_drift_with_an_estimate_beyond_the_tolerance_is_degraded() -> None:
    alarm = drift(9, signal())
    assert Watch().look(drift=alarm, performance=worth(estimated=0.87)).kind == "drifted"
    verdict = Watch().look(drift=alarm, performance=worth(estimated=0.80))
    assert (verdict.kind, verdict.cause) == ("degraded", "performance")
    assert any("accuracy is 0.800 (0.790 to 0.810)" in reason for reason in verdict.reasons)


def test_drift_with_labels_beyond_the_tolerance_is_degraded() -> None:
    verdict = Watch().look(drift=drift(9, signal()), performance=worth(realized=0.80))
    assert (verdict.kind, verdict.cause) == ("degraded", "performance")


def test_a_metric_alone_is_no_alarm() -> None:
    assert Watch().look(performance=worth(realized=0.80)).kind == "watch"
    assert Watch().look(performance=worth(estimated=0.80)).kind == "watch"


def test_the_loss_of_labelled_rows_is_degraded_and_recovers_with_the_metric() -> None:
    watch = Watch()
    loss = signal("loss: error", kind="loss")
    verdict = watch.look(drift=drift(9, loss), performance=worth(realized=0.80))
    assert (verdict.kind, verdict.cause, verdict.columns) == ("degraded", "performance", ())
    assert verdict.suggests == "retrain"
    later = watch.look(drift=drift(9, loss), performance=worth(realized=0.86))
    assert later.kind == "degraded"
    few = watch.look(drift=drift(9, loss), performance=worth(realized=0.9, labels=10))
    assert few.kind == "degraded"
    assert watch.look(drift=drift(0), performance=worth(realized=0.89)).recovered


def test_a_fault_of_the_data_never_suggests_to_train() -> None:
    watch = Watch()
    verdict = watch.look(drift=drift(9, signal("income: missing", kind="missing")))
    assert (verdict.kind, verdict.cause, verdict.suggests) == ("drifted", "data quality", "")
    assert "income" in verdict.advice[0]
    worse = watch.look(
        drift=drift(9, signal("income: missing", kind="missing")),
        performance=worth(estimated=0.7),
    )
    assert (worse.kind, worse.cause, worse.suggests) == ("degraded", "data quality", "")


def test_drift_suggests_once_for_each_alarm() -> None:
    watch = Watch(MonitoringSpec(cooldown=0))
    looks = [watch.look(drift=drift(9, signal())) for _ in range(4)]
    assert [one.suggests for one in looks] == ["retrain", "", "", ""]
    watch.look(drift=drift(0, signal(excess=0)))
    assert watch.look(drift=drift(9, signal())).suggests == "retrain"


def alarm_again(watch: Watch, *, hours: float = 1, **seen: object) -> str:
    """Let an alarm end and another begin; return what it suggests and advises."""
    watch.look(drift=drift(0, signal(excess=0)))
    verdict = watch.look(hours=hours, drift=drift(9, signal()), **seen)
    return f"{verdict.suggests} {' '.join(verdict.advice)}"


def test_after_an_action_there_is_a_pause() -> None:
    watch = Watch()
    watch.look(drift=drift(9, signal()))
    assert "Nothing more is suggested before 2026-11-02 01:00 UTC" in alarm_again(watch)
    assert alarm_again(watch, hours=25).startswith("retrain")


def test_there_are_so_many_actions_in_a_month() -> None:
    watch = Watch(MonitoringSpec(cooldown=0, actions_per_month=2))
    watch.look(drift=drift(9, signal()))
    assert alarm_again(watch).startswith("retrain")
    assert "monitoring.actions_per_month allows 2" in alarm_again(watch)
    assert alarm_again(watch, hours=31 * 24).startswith("retrain")


def test_refused_three_times_it_asks() -> None:
    watch = Watch(MonitoringSpec(cooldown=0))
    assert alarm_again(watch, refused=2).startswith("retrain")
    assert "last 3 runs were refused" in alarm_again(watch, refused=3)


def test_never_is_never() -> None:
    verdict = Watch(MonitoringSpec(retrain="never")).look(drift=drift(9, signal()))
    assert (verdict.kind, verdict.suggests) == ("drifted", "")


def test_without_rows_it_is_blind_within_two_periods() -> None:
    watch = Watch()
    assert watch.look(rows=0).kind == "blind"
    assert watch.look().kind == "healthy"
    assert watch.look(rows=0).kind == "healthy"
    verdict = watch.look(rows=0)
    assert verdict.kind == "blind"
    assert "No rows were captured" in verdict.headline
    assert watch.look().recovered


def test_a_service_that_cannot_be_read_is_blind_with_the_reason() -> None:
    watch = Watch()
    watch.look()
    watch.look(rows=0, problem="Nothing is being served.")
    verdict = watch.look(rows=0, problem="Nothing is being served.")
    assert (verdict.kind, verdict.reasons[0][:24]) == ("blind", "Nothing is being served.")


def test_blind_hides_an_alarm_and_does_not_end_it() -> None:
    watch = Watch()
    watch.look(drift=drift(9, signal()))
    assert watch.look(rows=0, drift=None, hours=3).kind == "blind"
    assert watch.look(drift=drift(9, signal())).kind == "drifted"


def test_a_few_rows_of_a_version_are_no_verdict() -> None:
    watch = Watch()
    assert watch.look(rows=150).kind == "blind"
    assert watch.look(rows=50).kind == "healthy"
    assert watch.look(version=2, rows=150).kind == "blind"


def test_lost_rows_are_blind_beyond_a_share() -> None:
    assert Watch().look(rows=960, lost=40).kind == "healthy"
    verdict = Watch().look(rows=900, lost=100)
    assert verdict.kind == "blind"
    assert "100 of 1,000 rows were lost" in verdict.headline


def test_labels_that_are_due_and_do_not_come_are_blind() -> None:
    spec = MonitoringSpec.parse({"performance": {"labels_within": 5}}, where="monitoring")
    watch = Watch(spec)
    assert watch.look(performance=worth(realized=0.9)).kind == "healthy"
    assert watch.look(hours=5, performance=worth()).kind == "healthy"
    verdict = watch.look(hours=1, performance=worth())
    assert verdict.kind == "blind"
    assert "No label has come since 2026-11-01 01:00 UTC" in verdict.headline
    assert watch.look(performance=worth(realized=0.9)).kind == "healthy"


def test_what_is_missing_is_blind_unless_something_worse_is_seen() -> None:
    missing = ("Nothing is kept of how version 1 scored the holdout.",)
    verdict = Watch().look(missing=missing)
    assert verdict.kind == "blind"
    assert missing[0] in verdict.headline
    worse = Watch().look(missing=missing, drift=drift(9, signal()))
    assert worse.kind == "drifted"
    assert missing[0] in worse.reasons


@pytest.mark.parametrize(("errors", "kind"), [(49, "healthy"), (51, "degraded")])
def test_errors_of_the_server_have_a_limit(errors: int, kind: str) -> None:
    seen = ServiceFigures(requests=1000, client_errors=500, server_errors=errors, p99=9.0)
    verdict = Watch().look(operations=seen)
    assert verdict.kind == kind
    assert verdict.suggests == ""


def test_what_people_were_told_of_does_not_come_and_go_at_its_limit() -> None:
    watch = Watch()
    errors = [60, 40, 60, 34]
    kinds = [
        watch.look(
            operations=ServiceFigures(requests=1000, client_errors=0, server_errors=count)
        ).kind
        for count in errors
    ]
    assert kinds == ["degraded", "degraded", "degraded", "healthy"]
    assert [watch.look(rows=1000, lost=lost).kind for lost in (60, 40, 30)] == [
        "blind",
        "blind",
        "healthy",
    ]
    alarm = drift(9, signal())
    metrics = [0.80, 0.86, None, 0.84, 0.87]
    seen = [
        watch.look(drift=alarm, performance=worth(realized=value) if value else None).kind
        for value in metrics
    ]
    assert seen == ["degraded", "degraded", "degraded", "degraded", "drifted"]


def test_few_requests_break_no_limit() -> None:
    seen = ServiceFigures(requests=10, client_errors=0, server_errors=5)
    assert Watch().look(operations=seen).kind == "healthy"


def test_latency_has_a_limit_where_one_is_set() -> None:
    seen = ServiceFigures(requests=1000, client_errors=0, server_errors=0, p99=0.8)
    spec = MonitoringSpec.parse({"operations": {"p99": 0.5}}, where="monitoring")
    verdict = Watch(spec).look(operations=seen)
    assert (verdict.kind, verdict.cause) == ("degraded", "operations")
    assert "0.5 s are allowed" in verdict.reasons[0]


def test_another_version_begins_anew() -> None:
    watch = Watch()
    watch.look(drift=drift(9, signal()))
    verdict = watch.look(version=2)
    assert (verdict.kind, verdict.drift, verdict.recovered) == ("healthy", None, True)


def test_a_clock_that_is_set_back_makes_nothing_last_forever() -> None:
    watch = Watch(MonitoringSpec(cooldown=5))
    watch.look(hours=10_000, drift=drift(9, signal()))
    watch.look(hours=-9_000, drift=drift(0, signal(excess=0)))
    assert alarm_again(watch, hours=6).startswith("retrain")
    watch.look(hours=9_000)
    watch.look(hours=-5_000, rows=0)
    watch.look(rows=0)
    assert watch.look(rows=0).kind == "blind"


def test_an_alarm_says_that_the_estimate_is_withdrawn() -> None:
    verdict = Watch().look(
        drift=drift(9, signal("loss: error", kind="loss")),
        performance=worth(realized=0.8, withdrawn=True),
    )
    assert any("concept drift" in reason for reason in verdict.reasons)


def test_too_few_rows_are_a_fault_of_the_data_and_say_how_many_came() -> None:
    seen = Volume(
        since=BEGIN, until=BEGIN + HOUR, rows=312, usual=1040, low=520, high=2080, by="in general"
    )
    few = signal("rows: too few", kind="volume")
    verdict = Watch().look(drift=drift(9, few), volume=seen)
    assert (verdict.kind, verdict.cause, verdict.suggests) == ("drifted", "data quality", "")
    assert verdict.headline == "The quality of the data of version 1 changed: the number of rows."
    assert "312 rows came; 1,040 are usual in general" in verdict.reasons[0]
    assert "520 to 2,080 are no drift" in verdict.reasons[0]
    assert "whoever sends the requests" in verdict.advice[0]


def test_rows_that_are_old_are_not_healthy() -> None:
    watch = Watch()
    assert watch.look(until=BEGIN).kind == "healthy"
    verdict = watch.look(until=BEGIN - HOUR)
    assert verdict.kind == "blind"
    assert "The newest row is 3 hours old; it may be 2 hours" in verdict.headline
    late = MonitoringSpec.parse({"volume": {"newest_within": 5}}, where="monitoring")
    assert Watch(late).look(until=BEGIN - 3 * HOUR).kind == "healthy"
    assert Watch(late).look(until=BEGIN - 5 * HOUR).kind == "blind"


@pytest.mark.parametrize(("labelled", "kind"), [(800, "healthy"), (799, "blind")])
def test_labels_are_due_of_a_share_of_the_rows(labelled: int, kind: str) -> None:
    spec = MonitoringSpec.parse({"performance": {"labels_within": 5}}, where="monitoring")
    watch = Watch(spec)
    watch.look(performance=worth(realized=0.9))
    due = DueLabels(since=BEGIN, until=BEGIN + HOUR, rows=1000, labelled=labelled)
    verdict = watch.look(performance=worth(realized=0.9, due=due))
    assert verdict.kind == kind
    if kind == "blind":
        assert "Labels of 799 of the 1,000 rows" in verdict.headline
        assert "within 5 hours those of 80.0 % are due" in verdict.headline
        # Not at its very limit again, but well within it.
        again = due.model_copy(update={"labelled": 850})
        assert watch.look(performance=worth(realized=0.9, due=again)).kind == "blind"
        again = due.model_copy(update={"labelled": 861})
        assert watch.look(performance=worth(realized=0.9, due=again)).kind == "healthy"
