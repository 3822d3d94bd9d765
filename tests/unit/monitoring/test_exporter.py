"""The monitor's figures as Prometheus reads them."""

from __future__ import annotations

import urllib.request
from datetime import timedelta

import pytest
from monitor_parts import BEGIN, HOUR, SPEC, THRESHOLD, Watch, drift, signal, worth
from prometheus_client.parser import text_string_to_metric_families

from penstock.monitoring.exporter import exposition, served
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.records.figures import AttributionShare, Volume
from penstock.records.intervention import Intervention
from penstock.records.monitoring import Action, ActionKind, MonitorState


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, the service left out."""
    return {
        (sample.name, *(v for k, v in sorted(sample.labels.items()) if k != "service")): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_state() -> None:
    watch = Watch()
    watch.look(performance=worth(estimated=0.9))
    watch.look(rows=900, lost=5, drift=drift(9, signal()), performance=worth(realized=0.88))
    found = samples(exposition(watch.state, spec=SPEC))
    assert found["penstock_monitor_verdict", "drifted"] == 1
    assert found["penstock_monitor_verdict", "healthy"] == 0
    assert found["penstock_monitor_rows_total",] == 1900
    assert found["penstock_monitor_lost_rows_total",] == 5
    assert found["penstock_monitor_log_evidence",] == 9
    assert found["penstock_monitor_threshold",] == THRESHOLD
    assert found["penstock_monitor_realized", "low", "accuracy"] == 0.87
    assert ("penstock_monitor_estimated", "value", "accuracy") not in found
    assert found["penstock_monitor_actions_total", "suggested"] == 1
    assert found["penstock_monitor_actions_total", "retrained"] == 0
    last = (BEGIN + timedelta(hours=2)).timestamp()
    assert found["penstock_monitor_last_look_timestamp_seconds",] == last


def test_an_alert_can_tell_how_late_is_late_and_how_often_an_alarm_is_false() -> None:
    spec = MonitoringSpec(every="15m", false_alarms_per_year=2)
    found = samples(exposition(MonitorState(service="loans"), spec=spec))
    assert found["penstock_monitor_period_seconds",] == 900
    assert found["penstock_monitor_false_alarms_per_year",] == 2


def test_before_the_first_look_no_verdict_holds() -> None:
    found = samples(exposition(MonitorState(service="loans"), spec=SPEC))
    verdicts = {key: value for key, value in found.items() if key[0] == "penstock_monitor_verdict"}
    assert len(verdicts) == 5
    assert set(verdicts.values()) == {0}
    assert ("penstock_monitor_last_look_timestamp_seconds",) not in found


def test_they_are_served_as_they_stand() -> None:
    watch = Watch()
    with served(0, read=lambda: watch.state, spec=SPEC) as port:
        for rows in (0, 1000):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                found = samples(answer.read().decode())
            assert found["penstock_monitor_rows_total",] == rows
            watch.look()


def test_how_many_rows_came_and_how_old_the_newest_is() -> None:
    watch = Watch()
    seen = Volume(since=BEGIN, until=BEGIN + HOUR, rows=7, usual=9, low=4, high=20, by="in general")
    watch.look(until=BEGIN, volume=seen)
    # A look without rows has nothing new; what came before stands.
    watch.look(rows=0, volume=None)
    found = samples(exposition(watch.state, spec=SPEC))
    assert found["penstock_monitor_newest_row_timestamp_seconds",] == BEGIN.timestamp()
    assert found["penstock_monitor_volume_rows",] == 7
    bounds = [found["penstock_monitor_volume_usual_rows", one] for one in ("low", "value", "high")]
    assert bounds == [4, 9, 20]


def test_what_decisions_are_worth_and_answers_rest_on() -> None:
    watch = Watch()
    shares = (AttributionShare(column="amount", holdout=0.25, window=0.5),)
    value = worth(estimated=0.9).model_copy(update={"metric": "value of 1,000 decisions (EUR)"})
    watch.look(performance=worth(estimated=0.9), kpi=value, attributions=shares)
    found = samples(exposition(watch.state, spec=SPEC))
    assert found["penstock_monitor_attribution_share", "amount", "window"] == 0.5
    assert found["penstock_monitor_attribution_share", "amount", "holdout"] == 0.25
    assert found["penstock_monitor_estimated", "low", "accuracy"] == 0.89
    assert found["penstock_monitor_estimated", "low", "value of 1,000 decisions (EUR)"] == 0.89


def test_what_is_under_way_waits_and_stopped() -> None:
    one = Intervention(
        identity="i", number=1, version=1, reason="It is worse.", since=BEGIN, began=BEGIN, look=1
    )
    watch = Watch()
    watch.look()

    def shown(**changes: object) -> dict[tuple[str, ...], float]:
        state = watch.state.model_copy(update={"intervention": one.model_copy(update=changes)})
        return samples(exposition(state, spec=SPEC))

    found = shown(stage="retrain", waits="Ben is to approve it.")
    assert found["penstock_monitor_action_under_way", "retrain"] == 1
    assert found["penstock_monitor_action_waits", "people"] == 1
    assert found["penstock_monitor_action_waits", "labels"] == 0
    assert found["penstock_monitor_action_began_timestamp_seconds",] == BEGIN.timestamp()
    assert shown(stage="wait", waits="Labels.")["penstock_monitor_action_waits", "labels"] == 1
    assert shown(stage="retrain")["penstock_monitor_action_waits", "people"] == 0


def test_how_many_runs_in_a_row_were_refused() -> None:
    watch = Watch()
    watch.look()

    def stopped(*kinds: ActionKind) -> tuple[float, float]:
        actions = tuple(Action(kind=kind, time=BEGIN, number=1, reason="") for kind in kinds)
        state = watch.state.model_copy(update={"actions": actions})
        found = samples(exposition(state, spec=SPEC))
        return found["penstock_monitor_refused_in_a_row",], found["penstock_monitor_stopped",]

    assert stopped("refused", "retrained", "refused", "suggested", "refused") == (2, 0)
    assert stopped("refused", "refused", "refused") == (3, 1)
    # Runs that people began count too.
    watch.look(refused=3)
    assert stopped() == (3, 1)


def test_how_far_signals_lie_from_what_is_expected() -> None:
    watch = Watch()
    watch.look(drift=drift(1, signal(), signal("gap: selection of A", kind="gap", excess=0.5)))
    found = samples(exposition(watch.state, spec=SPEC))
    excess = {key[1:]: value for key, value in found.items() if key[0].endswith("signal_excess")}
    assert excess == {
        ("decile", "amount: at most 30"): pytest.approx(3),
        ("gap", "gap: selection of A"): pytest.approx(0.5),
    }
