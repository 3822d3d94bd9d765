"""What follows degraded performance: when it begins, what is chosen, how it ends. No processes."""

from __future__ import annotations

import pytest
from intervened_service import AUTOMATIC, WORSE, Hand, Service
from monitor_parts import BEGIN, HOUR, drift, signal, worth

from penstock.errors import ServiceError
from penstock.monitoring.interventions.intervention import half_of
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.records.intervention import RunStatus
from penstock.records.monitoring import MonitorState

DRIFTED = {"drift": drift(9.0, signal())}


def test_only_degraded_performance_begins_anything() -> None:
    quality = {"drift": drift(9.0, signal("city: missing", kind="missing"))}
    for seen in (DRIFTED, quality, {"drift": drift(0.0)}):
        service = Service()
        assert not service.look(**seen).begins
        assert service.go_on() == []
    both = Service()
    assert both.look(**quality, performance=worth(realized=0.7)).cause == "data quality"
    assert not both.verdicts[-1].begins
    for spec in (MonitoringSpec(retrain="suggest"), MonitoringSpec(retrain="never")):
        assert not Service(spec).look(**WORSE).begins


def test_drift_alone_still_suggests_and_a_suggestion_keeps_from_nothing() -> None:
    service = Service()
    assert service.look(**DRIFTED).suggests == "retrain"
    verdict = service.look(**WORSE)
    assert (verdict.begins, verdict.suggests) == (True, "")
    # One at a time.
    assert not service.look(**WORSE).begins


def test_rows_count_from_where_the_latest_signal_changed() -> None:
    early, late = signal(), signal("visits: at most 3", evidence=4.0)
    late = late.model_copy(update={"since": BEGIN + HOUR})
    service = Service()
    verdict = service.look(**WORSE | {"drift": drift(9.0, early, late)})
    assert verdict.since == BEGIN
    assert service.state.intervention.since == BEGIN + HOUR


def test_a_recall_comes_first() -> None:
    service = Service()
    service.look(**WORSE)
    assert service.go_on() == []
    assert service.stage == "compare"
    service.hand.found(version=2)
    (said,) = service.go_on()
    assert said.startswith("Recalling version 2: Version 2 is better. Run: 2026-11-")
    # It was written down before it began.
    assert service.written[-1].intervention.run.endswith(".recall")
    assert service.hand.runs == [("recall", 2)]
    service.hand.status = RunStatus(state="released", version=3, reason="Approved.")
    (said,) = service.go_on()
    assert "Recall of version 2: version 3 is the champion." in said
    assert service.stage == ""
    assert service.state.totals.actions == {"recalled": 1}
    assert service.events == ["recalled"]
    assert service.state.outbox[0].text.endswith("Page: file:///page")
    assert service.go_on() == []


def test_a_recall_waits_for_rows_of_a_rare_class_while_a_retraining_would_wait_too() -> None:
    service = Service(AUTOMATIC.model_copy(update={"recall_rows": 100, "retrain_rows": 1000}))
    service.look(**WORSE)
    service.hand.found(version=2, labelled=400, gate=200, rarest=7)
    service.go_on()
    assert service.stage == "wait"
    assert "of the rarest 7 are there" in service.state.intervention.waits
    assert service.hand.runs == []
    service.look(**WORSE)
    service.hand.found(version=2, labelled=800, gate=400, rarest=20)
    service.go_on()
    assert service.hand.runs == [("recall", 2)]


def test_a_class_that_stays_too_rare_does_not_keep_from_retraining() -> None:
    service = Service(AUTOMATIC.model_copy(update={"recall_rows": 100, "retrain_rows": 1000}))
    service.look(**WORSE)
    service.hand.found(version=2, labelled=1000, gate=500, rarest=7)
    (said,) = service.go_on()
    assert said.startswith("Retraining: Version 2 is better. The gate needs 20 rows of each class")
    assert service.hand.runs == [("retrain", None)]


def test_where_no_former_champion_fits_it_trains() -> None:
    service = Service()
    service.look(**WORSE)
    service.hand.found(labelled=1000)
    service.hand.status = RunStatus(state="released", version=2)
    service.go_on()
    assert service.hand.runs == [("retrain", None)]
    assert service.state.totals.actions == {"retrained": 1}
    assert "Retraining on rows since 2026-11-01 00:00 UTC" in service.state.actions[-1].reason


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"labelled": 400, "gate": 200}, "400 are there, 600 are missing."),
        (
            {"version": 2, "labelled": 120, "gate": 60},
            "It is suggested to recall version 2. The gate needs 40 more labelled rows",
        ),
    ],
)
def test_too_few_labels_wait_for_the_next_look_and_are_said_once(found, said: str) -> None:
    service = Service()
    service.look(**WORSE)
    service.hand.found(**found)
    (told,) = service.go_on()
    assert said in told
    assert service.go_on() == []
    assert service.hand.compared == [1]
    service.look(**WORSE)
    assert service.go_on() == []
    assert service.hand.compared == [1, 2]
    assert service.events == ["waiting"]
    service.hand.found()
    service.look(**WORSE)
    service.go_on()
    assert service.stage == "retrain"


def test_what_recovers_or_is_replaced_is_left() -> None:
    service = Service()
    service.look(**WORSE)
    service.hand.found(labelled=0)
    service.go_on()
    service.look(version=2)
    assert "Version 2 serves now" in service.go_on()[0]
    assert service.stage == ""
    assert service.state.actions == ()


def test_a_run_goes_on_whatever_the_verdict_becomes() -> None:
    service = Service()
    service.look(**WORSE)
    service.hand.found()
    service.go_on()
    service.look(drift=drift(0.0), performance=worth(realized=0.9))
    assert service.go_on() == []
    assert service.stage == "retrain"


def test_a_recall_that_is_refused_is_followed_by_a_retraining() -> None:
    service = Service()
    service.look(**WORSE)
    service.hand.found(version=2)
    service.go_on()
    service.hand.status = RunStatus(state="refused", version=None, reason="Refused: worse.")
    said = service.go_on()
    assert "Recall of version 2: refused, and version 1 serves on." in said[0]
    assert "Retraining: The recall of version 2 was not let through." in said[1]
    # The retraining was refused in its turn; that is the end of it.
    assert service.hand.runs[-1] == ("retrain", None)
    assert service.stage == ""
    assert service.events == ["refused", "refused"]


def test_three_refusals_in_a_row_stop_and_ask() -> None:
    service = Service()
    service.hand.found()
    service.hand.status = RunStatus(state="rolled_back", reason="Errors.")
    service.look(**WORSE)
    for _ in range(3):
        service.go_on()
        verdict = service.look(hours=25, **WORSE)
    assert [one.kind for one in service.state.actions] == ["refused"] * 3
    assert "The last 3 runs were refused" in service.state.outbox[-1].text
    assert not verdict.begins
    assert any("The last 3 runs were refused" in one for one in verdict.advice)


def test_cool_down_and_cap_hold() -> None:
    service = Service(AUTOMATIC.model_copy(update={"actions_per_month": 2}))
    service.hand.found()
    service.hand.status = RunStatus(state="failed", reason="No disk.")
    service.look(**WORSE)
    service.go_on()
    assert service.state.totals.actions == {"failed": 1}
    verdict = service.look(hours=23, **WORSE)
    assert not verdict.begins
    assert any("Nothing more is begun before 2026-11-02" in one for one in verdict.advice)
    assert service.look(hours=2, **WORSE).begins
    service.go_on()
    verdict = service.look(hours=25, **WORSE)
    assert not verdict.begins
    assert any("monitoring.actions_per_month allows 2" in one for one in verdict.advice)
    assert service.look(hours=24 * 30, **WORSE).begins


def test_that_it_waits_for_people_is_kept_and_told_by_the_run_alone() -> None:
    service = Service()
    service.look(**WORSE)
    service.hand.found()
    service.hand.status = RunStatus(state="running", waits="Approve it: penstock approve X")
    service.go_on()
    assert service.go_on() == []
    assert service.events == []
    assert service.state.intervention.waits == "Approve it: penstock approve X"
    service.hand.status = RunStatus(state="running")
    service.go_on()
    assert service.state.intervention.waits == ""
    assert service.stage == "retrain"


def test_what_cannot_be_known_changes_nothing() -> None:
    service = Service()
    service.look(**WORSE)
    service.hand.comparison = ServiceError("The registry is away.")
    assert "could not be compared: The registry is away." in service.go_on()[0]
    assert service.stage == "wait"
    service.look(**WORSE)
    service.hand.found()
    service.hand.status = ServiceError("The cluster is away.")
    assert "is not known: The cluster is away." in service.go_on()[-1]
    assert service.stage == "retrain"
    service.hand.status = RunStatus(state="released", version=2)
    service.go_on()
    assert service.state.totals.actions == {"retrained": 1}


def test_killed_at_any_write_the_same_is_begun_and_nothing_twice() -> None:
    """Go on from every state that was written: each names the same run."""
    service = Service()
    service.look(**WORSE)
    service.hand.found(version=2)
    first = service.state
    service.go_on()
    for killed in [first, *service.written]:
        again = Service()
        again.state, again.hours, again.hand = killed, service.hours, Hand()
        again.hand.found(version=2)
        again.go_on()
        assert again.state.intervention.run == service.state.intervention.run
        assert again.hand.runs == [("recall", 2)]
    assert MonitorState.loads(service.state.dumps(), where="state") == service.state


def test_the_halves_are_about_equal_and_stay() -> None:
    halves = [half_of(f"request-{number}") for number in range(1000)]
    assert 450 < halves.count("gate") < 550
    assert halves == [half_of(f"request-{number}") for number in range(1000)]
    assert half_of("request-1") == "gate"


def test_a_state_of_the_release_before_reads() -> None:
    raw = MonitorState(service="loans").payload()
    del raw["intervention"]
    assert MonitorState.parse(raw, where="state").intervention is None
