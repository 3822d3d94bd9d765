"""Looks at real captures: what they find, and that each row counts once whatever is killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from killing import Fault, endings
from watched_shop import BEGIN, Shop, scores_of, table

from penstock.errors import IntegrityError
from penstock.monitoring.evidence import signals_for
from penstock.monitoring.interventions.intervening import Interventions
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.notification import NotifySpec
from penstock.records.estimate import Estimate
from penstock.records.intervention import Intervention
from penstock.records.monitoring import Looked, Verdict
from penstock.serving.capture import Truths

START = BEGIN.timestamp()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_stable_service_is_healthy_and_a_shift_is_named(shop: Shop) -> None:
    for _ in range(3):
        shop.serve()
        assert shop.look().kind == "healthy"
    shop.serve(shift=1.0)
    verdict = shop.look()
    assert verdict.kind == "drifted"
    assert verdict.columns[0] == "amount"
    assert verdict.suggests == "retrain"
    assert verdict.done == ("It was suggested to train again.",)
    # It began in the fourth hour.
    assert (verdict.since - shop.state.began).total_seconds() >= 2 * 3600 - 600
    shop.serve()
    assert shop.look().recovered
    shop.serve()
    assert shop.look().kind == "healthy"


def test_a_fault_of_the_source_is_named_and_not_trained_on(shop: Shop) -> None:
    shop.serve()
    shop.look()
    shop.serve(missing=0.3)
    verdict = shop.look()
    assert (verdict.kind, verdict.cause, verdict.columns) == ("drifted", "data quality", ("city",))
    assert verdict.suggests == ""


def test_labels_that_contradict_the_holdout_are_degraded(shop: Shop) -> None:
    shop.serve(labels=True)
    assert shop.look().kind == "healthy"
    seen = shop.state.last.performance
    assert seen.labels == 2000
    assert seen.realized.low < seen.reference.value < seen.realized.high
    assert seen.estimated.low < seen.realized.value < seen.estimated.high
    shop.serve(6000, labels=True, turned=0.4)
    verdict = shop.look()
    assert (verdict.kind, verdict.cause) == ("degraded", "performance")
    assert verdict.drift is None
    assert "With labels accuracy is" in verdict.reasons[0]


def test_a_label_finds_its_row_of_an_earlier_look(shop: Shop) -> None:
    shop.serve(labels=True)
    feedback = list(shop.captures.glob("feedback-*"))
    aside = shop.folder / "aside"
    aside.mkdir()
    moved = [Path(shutil.move(path, aside)) for path in feedback]
    shop.look()
    assert shop.state.last.performance.labels == 0
    for path in moved:
        shutil.move(path, shop.captures)
    shop.serve(500)
    shop.look()
    assert shop.state.last.performance.labels == 2000


def test_labels_that_come_again_are_no_new_evidence(shop: Shop) -> None:
    shop.serve(labels=True)
    shop.look()
    again = [(f"1-{row - row % 50}", row % 50, "yes") for row in range(2000)]
    for _ in range(3):
        shop.serve(500)
        with shop._capture() as capture:
            capture.truths(Truths(time=START, labels=again), size=10, known=False)
        assert shop.look().kind == "healthy"
        assert shop.state.last.performance.labels == 0
        assert "2,000 labels are of rows that had theirs; they do not count." in (
            shop.state.last.notes
        )


def test_labels_that_could_not_be_used_may_be_sent_again(shop: Shop) -> None:
    shop.serve()
    shop.look()
    for label, used in (("maybe", 0), ("yes", 50)):
        shop.serve(500)
        with shop._capture() as capture:
            labels = [("1-0", row, label) for row in range(50)]
            capture.truths(Truths(time=START, labels=labels), size=10)
        shop.look()
        assert shop.state.last.performance.labels == used


def test_answers_that_are_no_numbers_are_never_healthy(shop: Shop) -> None:
    shop.serve()
    assert shop.look().kind == "healthy"
    shop.serve(500, unscored=0.04)
    assert shop.look().kind == "healthy"
    shop.serve(500, unscored=1.0)
    verdict = shop.look()
    assert verdict.kind == "blind"
    assert "500 of 500 rows have no score that is a number" in verdict.blind[0]


def test_labels_of_rows_that_are_not_known_are_said(shop: Shop) -> None:
    shop.serve(labels=True)
    shop.look()
    shutil.rmtree(shop.monitor.folder.answered)
    shop.serve(500, labels=True)
    shop.look()
    assert shop.state.last.performance.labels == 500
    assert not shop.state.last.notes


def test_a_gap_between_groups_that_widens_is_drift(shop: Shop) -> None:
    shop.serve()
    assert shop.look().kind == "healthy"
    for _ in range(4):
        shop.serve(6000, favoured="Kiel")
        verdict = shop.look()
    assert verdict.kind == "drifted"
    (gap, *_) = [one for one in verdict.drift.guilty if one.kind == "gap"]
    assert gap.column == "city"
    assert gap.name == "gap: selection rate of city = Kiel, against all others"
    assert abs(gap.expected) < 0.02
    assert 0.3 < gap.low < gap.value < gap.high < 0.6
    assert gap.tolerance == pytest.approx(0.05)
    assert "selection rate of city = Kiel" in shop.monitor.folder.page.read_text()


def test_fewer_rows_than_before_are_an_alarm_on_the_data(shop: Shop) -> None:
    shop.spec = MonitoringSpec.parse({"volume": {"learn": 1}}, where="monitoring")
    for _ in range(27):
        shop.serve(400)
        assert shop.look().kind == "healthy"
    seen = shop.state.volume
    assert seen is not None
    assert (seen.rows, seen.usual) == (400, 400)
    for _ in range(14):
        shop.serve(80)
        verdict = shop.look()
        if verdict.kind not in ("healthy", "watch"):
            break
    assert (verdict.kind, verdict.cause, verdict.suggests) == ("drifted", "data quality", "")
    assert "80 rows came; 400 are usual" in verdict.reasons[0]
    assert "80 rows came; 400 are usual" in shop.monitor.folder.page.read_text()


def test_how_many_rows_come_is_of_the_service_not_of_a_version(shop: Shop) -> None:
    for _ in range(3):
        shop.serve()
        shop.look()
    before = shop.state.progress.volume
    shop.version = 2
    shop.serve()
    shop.look()
    after = shop.state.progress.volume
    assert after["first"] == before["first"]
    # In the hours of the change some rows were the former version's.
    assert after["rows"][-1] is None


def test_a_gap_that_needs_labels_is_watched_when_these_come_late(shop: Shop) -> None:
    spec = {"performance": {"loss": 3}}
    shop.spec = MonitoringSpec.parse(spec, where="monitoring")
    shop.serve(4000, labels=True)
    assert shop.look().kind == "healthy"
    # The answers' captured rows are gone before the labels come.
    shop.serve(8000, labels=True, turned=1.0, turned_for="Kiel")
    aside = [Path(shutil.move(path, shop.folder)) for path in shop.captures.glob("feedback-*")]
    shop.look()
    for path in shop.captures.glob("predictions-*"):
        path.unlink()
    for path in aside:
        shutil.move(path, shop.captures)
    shop.serve(8000, labels=True, turned=1.0, turned_for="Kiel")
    assert shop.look().kind == "watch"
    shop.serve(8000, labels=True, turned=1.0, turned_for="Kiel")
    verdict = shop.look()
    # Accuracy as a whole is worse too.
    assert verdict.kind == "degraded"
    gaps = [one for one in verdict.drift.guilty if one.kind == "gap"]
    assert gaps[0].column == "city"
    assert "city = Kiel" in gaps[0].name
    assert {one.name.split(" of ")[0] for one in gaps} <= {
        "gap: error",
        "gap: true positive rate",
        "gap: false positive rate",
    }


def test_training_rows_that_belong_together_leave_more_room(shop: Shop) -> None:
    def room(together: float) -> float:
        spec = MonitoringSpec.parse({"together": together}, where="monitoring")
        signals = signals_for(shop.watched(), shop.reference, spec).signals
        return next(one.high - one.expected for one in signals if one.name == "city: missing")

    assert room(25) - 0.01 > 20 * (room(1) - 0.01)


def test_what_an_earlier_release_gathered_begins_anew_and_is_said(shop: Shop) -> None:
    shop.serve()
    shop.look()
    state = shop.state
    memory = state.progress.detector | {"signals": "sha256:of-an-earlier-release"}
    streams = {name: one for name, one in memory["streams"].items() if name == "rows"}
    progress = state.progress.model_copy(update={"detector": memory | {"streams": streams}})
    shop.monitor.folder.write(state.model_copy(update={"progress": progress}))
    shop.serve()
    assert shop.look().kind == "healthy"
    assert any("began anew" in note for note in shop.state.last.notes)
    assert set(shop.state.progress.detector["streams"]) > {"rows", "labels", "volume"}


@pytest.mark.parametrize("part", ["detector", "volume", "concept"])
def test_what_another_release_gathered_in_another_form_is_refused(shop: Shop, part: str) -> None:
    shop.serve()
    shop.look()
    progress = shop.state.progress.model_copy(update={part: {"of": "a later release"}})
    shop.monitor.folder.write(shop.state.model_copy(update={"progress": progress}))
    shop.serve()
    with pytest.raises(IntegrityError, match=rf"state.json: progress.{part}: .*this release"):
        shop.look()


def test_labelled_gaps_go_on_over_looks_with_few_labels(shop: Shop) -> None:
    for _ in range(3):
        shop.serve(150, labels=True)
        shop.look()
    stream = shop.state.progress.detector["streams"]["labelled gaps of 200 rows"]
    assert (stream["blocks"], stream["carry"]["rows"]) == (2, 50)


def test_what_the_former_release_kept_of_answers_still_finds_labels(shop: Shop) -> None:
    shop.serve(labels=True)
    feedback = [Path(shutil.move(path, shop.folder)) for path in shop.captures.glob("feedback-*")]
    shop.look()
    (path,) = shop.monitor.folder.answered.glob("*.npz")
    with np.load(path) as kept:
        former = {name: kept[name] for name in ("keys", "scores", "times")}
    np.savez(path, **former)
    for one in feedback:
        shutil.move(one, shop.captures)
    shop.serve(500)
    shop.look()
    assert shop.state.last.performance.labels == 2000
    assert shop.state.progress.detector["streams"]["labelled gaps of 200 rows"]["blocks"] == 10


def test_labels_that_are_due_are_counted_row_by_row(shop: Shop) -> None:
    spec = {"performance": {"labels_within": 2, "labels_share": 0.5}}
    shop.spec = MonitoringSpec.parse(spec, where="monitoring")
    kinds = []
    for labels in (True, True, True, False, False, False):
        shop.serve(1000, labels=labels)
        kinds.append(shop.look().kind)
    due = shop.state.last.performance.due
    assert (due.rows, due.labelled) == (2000, 1000)
    assert kinds == ["healthy"] * 6
    shop.serve(1000, labels=False)
    verdict = shop.look()
    assert verdict.kind == "blind"
    assert "Labels of 0 of the 2,000 rows" in verdict.headline


COST = {"matrix": {"true_positive": 10, "false_positive": -20}, "expression": "", "unit": "EUR"}


def valued(shop: Shop, cost: dict) -> None:
    shop.known = shop.known.model_copy(
        update={"cost": cost, "value": Estimate(value=3000, low=2900, high=3100)}
    )


def test_decisions_that_are_worth_less_are_degraded(shop: Shop) -> None:
    valued(shop, COST)
    spec = {"performance": {"loss": 3}, "gap": 0.9}
    shop.spec = MonitoringSpec.parse(spec, where="monitoring")
    shop.serve(labels=True)
    assert shop.look().kind == "healthy"
    seen = shop.state.last.kpi
    assert seen.metric == "value of 1,000 decisions (EUR)"
    assert seen.labels == 2000
    assert seen.realized.low < seen.reference.value < seen.realized.high
    assert seen.estimated.low < seen.reference.value < seen.estimated.high
    figures = shop.monitor.folder.metrics.read_text()
    assert 'metric="value of 1,000 decisions (EUR)",service="shop"} ' in figures
    # The metric's alarm is far off, as its tolerance is wide; the value's is not.
    for _ in range(3):
        shop.serve(8000, labels=True, turned=0.4)
        verdict = shop.look()
    assert (verdict.kind, verdict.cause) == ("degraded", "performance")
    assert verdict.headline == "The decisions of version 1 are worth less than on the holdout."
    assert "With labels the value of 1,000 decisions (EUR) is" in " ".join(verdict.reasons)
    assert "value of 1,000 decisions (EUR)" in shop.monitor.folder.page.read_text()
    shop.serve(2000, labels=True)
    assert shop.look().recovered


def test_a_value_that_depends_on_columns_is_estimated(shop: Shop) -> None:
    cost = COST["matrix"] | {"true_positive": "abs(amount)"}
    valued(shop, {"matrix": cost, "expression": "", "unit": "EUR"})
    shop.serve(labels=True)
    shop.look()
    seen = shop.state.last.kpi
    assert seen.realized is None
    # abs(amount) of those that are predicted and are yes, less 20 of those that are not.
    columns = table(2000, seed=101)
    scores = np.array(scores_of(columns))
    worth = np.where(scores >= 0.5, scores * np.abs(columns["amount"]) - 20 * (1 - scores), 0)
    assert seen.estimated.value == pytest.approx(1000 * worth.mean(), rel=0.2)
    assert seen.estimated.low < 1000 * worth.mean() < seen.estimated.high
    assert any("depends on columns" in note for note in shop.state.last.notes)


def test_an_absurd_amount_leaves_the_value_out_and_the_rest_is_watched(shop: Shop) -> None:
    cost = COST["matrix"] | {"true_positive": "abs(amount)"}
    valued(shop, {"matrix": cost, "expression": "", "unit": "EUR"})
    shop.serve(amount=1e308)
    assert shop.look().kind == "healthy"
    assert shop.state.last.kpi.not_estimated.startswith("Values are too large")


def test_a_column_that_requests_lack_leaves_the_value_out(shop: Shop) -> None:
    valued(shop, {"matrix": None, "expression": "margin * (truth == predicted)", "unit": ""})
    shop.serve()
    shop.look()
    assert "'margin'" in shop.state.last.kpi.not_estimated


def test_nothing_captured_is_a_sentence(shop: Shop) -> None:
    assert shop.look().kind == "blind"
    shop.problem = "Nothing is being served."
    assert shop.look().headline == "shop cannot be judged: Nothing is being served."


def test_without_a_baseline_the_data_are_watched(shop: Shop) -> None:
    shop.known, shop.missing = None, ("Nothing is kept of the holdout.",)
    shop.serve()
    assert shop.look().kind == "blind"
    shop.serve(shift=1.0)
    verdict = shop.look()
    assert (verdict.kind, verdict.columns[0]) == ("drifted", "amount")
    assert "Nothing is kept of the holdout." in verdict.reasons


def test_a_loss_that_becomes_smaller_is_no_alarm(shop: Shop) -> None:
    shop.serve(labels=True)
    shop.look()
    for _ in range(5):
        shop.serve(labels=True, perfect=True)
        verdict = shop.look()
        assert verdict.kind in ("healthy", "watch"), verdict.headline
        assert verdict.loss is None
    assert shop.state.labelled_performance.realized.value == 1


def test_lost_rows_are_counted(shop: Shop) -> None:
    shop.serve(3000)
    (path,) = shop.captures.glob("predictions-*.jsonl*")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-600], b"{torn\n"]))
    verdict = shop.look()
    assert verdict.kind == "blind"
    assert shop.state.totals.lost == 600
    assert shop.state.totals.rows == 2400


def test_people_are_told_of_each_change_once(shop: Shop) -> None:
    shop.notify = NotifySpec(file="told.jsonl")
    shop.serve()
    shop.look()
    for _ in range(3):
        shop.serve(shift=1.0)
        shop.look()
    for _ in range(2):
        shop.serve()
        shop.look()
    told = [json.loads(line) for line in (shop.folder / "told.jsonl").read_text().splitlines()]
    assert [one["state"] for one in told] == ["drifted", "suggested", "recovered"]
    assert "amount: " in told[0]["text"]
    assert "at most 1 a year" in told[0]["text"]
    assert shop.monitor.folder.page.as_uri() in told[0]["text"]
    assert "It was drifted before" in told[2]["text"]


def test_a_lost_message_is_said_and_counted(shop: Shop) -> None:
    shop.notify = NotifySpec(file="/proc/nowhere/told")
    shop.hours = 1
    with shop.monitor.held():
        _, notes = shop.monitor.look()
    assert len(notes) == 1
    assert "Lost: blind" in notes[0]
    assert shop.state.totals.undelivered == 1


def served(folder: Path) -> Shop:
    shop = Shop(folder, notify=NotifySpec(file="told.jsonl"))
    shop.serve(1000, labels=True)
    shop.look()
    shop.serve(1000, labels=True, shift=2.0)
    return shop


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_killed_at_any_write_no_row_counts_twice_and_none_is_missed(
    tmp_path: Path, every: int
) -> None:
    shop = served(tmp_path)
    home = shop.folder / "home"
    kept = shop.folder / "kept"
    shutil.copytree(home, kept)
    seen = set()
    for ending in endings(
        shop.look, Fault.KILL, every=every, below=[home, shop.folder / "told.jsonl"]
    ):
        seen |= set(ending.effects)
        shop.look()
        windows = shop.monitor.folder.recent(Looked, most=99)
        assert [one.number for one in windows] == list(range(1, shop.state.number + 1))
        assert sum(one.rows for one in windows) == 2000 == shop.state.totals.rows
        assert shop.state.totals.lost == 0
        labels = [one.performance.labels for one in windows if one.performance]
        assert sum(labels) == 2000
        told = [
            json.loads(line)["state"]
            for line in (shop.folder / "told.jsonl").read_text().splitlines()
        ]
        # A message that was cut short comes again; none is missing.
        assert {"blind", "drifted", "suggested"} >= set(told) >= {"drifted", "suggested"}
        assert told.count("drifted") <= 2
        assert not shop.state.outbox
        shutil.rmtree(home)
        shutil.copytree(kept, home)
        (shop.folder / "told.jsonl").unlink()
    assert any("windows" in one for one in seen)
    assert any("verdicts" in one for one in seen)
    assert any("state.json" in one for one in seen)


@pytest.mark.parametrize(
    "fault",
    [Fault.FULL, pytest.param(Fault.REFUSED, marks=pytest.mark.long)],
    ids=lambda fault: fault.value,
)
def test_a_look_that_cannot_write_says_so_and_the_next_goes_on(
    tmp_path: Path, fault: Fault
) -> None:
    shop = served(tmp_path)
    home = shop.folder / "home"
    kept = shop.folder / "kept"
    shutil.copytree(home, kept)
    for ending in endings(shop.look, fault, below=[home], every=9):
        assert ending.code == 0 or ending.refused, ending.trace
        shop.look()
        windows = shop.monitor.folder.recent(Looked, most=99)
        assert sum(one.rows for one in windows) == 2000 == shop.state.totals.rows
        shutil.rmtree(home)
        shutil.copytree(kept, home)


def test_the_page_and_the_figures_are_of_the_last_look(shop: Shop) -> None:
    shop.serve(labels=True)
    shop.look()
    shop.serve(shift=1.0)
    shop.look()
    page = shop.monitor.folder.page.read_text()
    assert "<strong>Drifted</strong>" in page
    assert "What changed" in page
    figures = shop.monitor.folder.metrics.read_text()
    assert 'penstock_monitor_verdict{service="shop",verdict="drifted"} 1.0' in figures
    assert 'penstock_monitor_verdict{service="shop",verdict="healthy"} 0.0' in figures
    assert 'penstock_monitor_rows_total{service="shop"} 4000.0' in figures
    assert 'penstock_monitor_actions_total{action="suggested",service="shop"} 1.0' in figures
    assert 'penstock_monitor_estimated{bound="low",metric="accuracy",service="shop"} 0.' in figures
    assert [one.kind for one in shop.monitor.folder.recent(Verdict, most=9)] == [
        "healthy",
        "drifted",
    ]


def test_degraded_performance_begins_what_follows_with_the_look(shop: Shop) -> None:
    asked: list[Intervention] = []

    class Busy:
        def compare(self, intervention: Intervention) -> None:
            # It is in the state before anything begins.
            assert shop.state.intervention == intervention
            asked.append(intervention)

    shop.spec = MonitoringSpec(retrain="automatic")
    shop.interventions = Interventions(shop.spec, Busy())
    shop.serve(labels=True)
    assert shop.look().kind == "healthy"
    shop.serve(6000, labels=True, turned=0.4)
    verdict = shop.look()
    assert (verdict.begins, verdict.done) == (True, ("A recall, or else a retraining, was begun.",))
    assert verdict.advice[0].startswith("Send the labels of rows since the change")
    begun = shop.state.intervention
    assert (begun.version, begun.stage, begun.since) == (1, "compare", verdict.since)
    shop.serve(labels=True, turned=0.4)
    assert not shop.look().begins
    assert [one.identity for one in asked] == [begun.identity] * 2
    page = shop.monitor.folder.page.read_text()
    assert "Former champions and labels since" in page
    figures = shop.monitor.folder.metrics.read_text()
    assert 'penstock_monitor_action_under_way{service="shop",stage="compare"} 1.0' in figures
