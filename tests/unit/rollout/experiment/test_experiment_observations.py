"""From events to one observation a user, and what is shown of them."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from penstock.records.experiment import ExperimentPlan, ExperimentReading
from penstock.rollout.experiment.events import Events
from penstock.rollout.experiment.observations import EventFile

PLAN = ExperimentPlan(
    salt="s", header="x-user-id", weight=50, kpi="value", low=0, high=10, window=100.0,
    centre=5.0, variance=100.0, users=1000, seconds=1e6,
)  # fmt: skip


class Story:
    """Writes what the proxy would, at moments of a clock of its own."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.plan = PLAN.model_copy(update=changes)
        self.path = folder / "events.jsonl"
        self.path.touch()
        self.ids = iter(range(10**9))

    def ask(self, t: float, user: str, *, challenger: bool = False, **more: Any) -> str:
        identity = more.pop("id", f"r{next(self.ids)}")
        arm = "candidate" if challenger else "stable"
        self.write({"e": "request", "t": t, "id": identity, "user": user, "arm": arm,
                    "weight": more.pop("weight", 50), **more})  # fmt: skip
        return identity

    def tell(self, t: float, request: str, value: float, *, row: int = 0) -> None:
        self.write({"e": "feedback", "t": t, "id": request, "value": value, "row": row})

    def write(self, event: dict[str, Any]) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps(event) + "\n")

    def at(self, t: float) -> ExperimentReading:
        return Events(self.plan, EventFile(self.path)).reading(datetime.fromtimestamp(t, UTC))


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_a_user_counts_once_whatever_number_of_rows(story: Story) -> None:
    for k in range(20):
        story.tell(1 + k, story.ask(k, "ann"), 10.0 if k % 2 else 0.0)
    story.tell(40, story.ask(30, "bob"), 2.0)
    assert story.at(99).champion.users == 0
    assert story.at(99).waiting == 2
    shown = story.at(100)
    assert (shown.champion.users, shown.champion.mean, shown.waiting) == (1, 5.0, 1)
    shown = story.at(130)
    assert (shown.champion.users, shown.champion.exposed) == (2, 2)
    assert shown.champion.mean == pytest.approx(3.5)


def test_a_sum_is_cut_where_it_leaves_its_range(tmp_path: Path) -> None:
    story = Story(tmp_path, per_user="sum")
    for _ in range(5):
        story.tell(1, story.ask(0, "ann"), 4.0)
    shown = story.at(200)
    assert (shown.champion.mean, shown.clipped) == (10.0, 1)


def test_what_comes_after_the_window_changes_nothing(story: Story) -> None:
    first = story.ask(0, "ann")
    story.tell(50, first, 4.0)
    story.tell(101, first, 10.0, row=1)
    story.tell(102, story.ask(102, "ann"), 10.0)
    shown = story.at(500)
    assert (shown.champion.users, shown.champion.exposed, shown.champion.mean) == (1, 1, 4.0)
    assert shown.unknown == 2


def test_a_row_counts_once_and_what_is_of_nobody_is_counted_apart(story: Story) -> None:
    request = story.ask(0, "ann")
    story.tell(1, request, 4.0)
    story.tell(2, request, 8.0)
    story.tell(3, "someone-else", 8.0)
    story.write({"e": "apart", "t": 4, "n": 7})
    shown = story.at(200)
    assert (shown.champion.mean, shown.repeated, shown.unknown, shown.apart) == (4.0, 1, 1, 7)


@pytest.mark.parametrize(("missing", "users", "mean"), [("skip", 1, 8.0), ("zero", 2, 4.0)])
def test_who_sends_nothing_is_left_out_or_counts_as_nothing(
    tmp_path: Path, missing: str, users: int, mean: float
) -> None:
    story = Story(tmp_path, missing=missing)
    story.tell(1, story.ask(0, "ann"), 8.0)
    story.ask(0, "bob")
    shown = story.at(200)
    assert (shown.champion.users, shown.champion.mean, shown.without) == (users, mean, 1)


def test_a_change_of_weight_ends_all_windows_and_nobody_counts_in_two_arms(story: Story) -> None:
    story.plan = story.plan.model_copy(update={"weight": 10})
    for user, challenger in (("ann", False), ("bob", False), ("cay", True)):
        story.tell(2, story.ask(1, user, challenger=challenger, weight=10), 4.0)
    # From here on bob is the challenger's, and dan is new.
    story.tell(11, story.ask(10, "bob", challenger=True, weight=50), 10.0)
    story.tell(11, story.ask(10, "dan", challenger=True, weight=50), 6.0)
    now = story.at(20)
    assert (now.champion.users, now.challenger.users, now.waiting, now.weight) == (2, 1, 1, 50)
    shown = story.at(200)
    assert (shown.champion.users, shown.challenger.users) == (2, 2)
    assert (shown.champion.mean, shown.challenger.mean) == (4.0, 5.0)
    assert shown.champion.exposed + shown.challenger.exposed == 4


def test_what_is_answered_at_the_old_weight_after_the_change_is_of_nobody(story: Story) -> None:
    """A request that was under way, or one that met a proxy which had not the new weight yet."""
    story.plan = story.plan.model_copy(update={"weight": 10})
    story.tell(2, story.ask(1, "ann", weight=50, challenger=True), 6.0)
    for user in ("bob", "cay"):
        story.tell(2, story.ask(1, user, weight=10), 4.0)
    story.tell(3, story.ask(3, "bob", challenger=True, weight=50), 10.0)
    story.tell(3, story.ask(3, "cay", weight=50), 2.0)
    story.ask(4, "bob", weight=10)
    shown = story.at(200)
    assert (shown.champion.mean, shown.challenger.mean) == (2.0, 8.0)
    assert (shown.changing, shown.moved, shown.unknown) == (3, 0, 2)
    assert (shown.champion.exposed, shown.challenger.exposed) == (1, 2)


def test_a_cost_is_of_what_was_predicted_and_what_was_true(tmp_path: Path) -> None:
    matrix = {"true_positive": 5, "false_positive": -1, "false_negative": -8, "true_negative": 0}
    cost = {"matrix": matrix, "expression": "", "unit": "EUR"}
    changes = {"kpi": "cost", "cost": cost, "low": -8.0, "high": 5.0, "unit": "EUR",
               "positive": "yes", "negative": "no"}  # fmt: skip
    story = Story(tmp_path, **changes)
    for predicted, truth in (("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no")):
        request = story.ask(0, "ann", labels=[predicted])
        story.write({"e": "feedback", "t": 1, "id": request, "label": truth, "row": 0})
    story.write({"e": "feedback", "t": 1, "id": request, "label": "maybe", "row": 0})
    shown = story.at(200)
    assert shown.champion.mean == pytest.approx((5 - 1 - 8 + 0) / 4)

    story = Story(tmp_path / "..", **changes | {"cost": {"expression": "-abs(truth - predicted)"},
                  "task": "regression", "positive": None, "negative": None})  # fmt: skip
    story.path = tmp_path / "other.jsonl"
    request = story.ask(0, "ann", labels=[3.0])
    story.write({"e": "feedback", "t": 1, "id": request, "label": 5.0, "row": 0})
    assert story.at(200).champion.mean == pytest.approx(-2.0)


def test_the_answer_of_who_stood_in_is_the_arms_own(tmp_path: Path) -> None:
    """The challenger could not be reached, and the champion answered its user."""
    story = Story(tmp_path, kpi="cost", cost={"expression": "-abs(truth - predicted)"}, low=-10.0)
    request = story.ask(0, "ann", challenger=True)
    story.ask(0, "ann", challenger=True, id=request, labels=[3.0])
    story.write({"e": "feedback", "t": 1, "id": request, "label": 5.0, "row": 0})
    assert story.at(200).challenger.mean == pytest.approx(-2.0)


def _many(story: Story, *, users: int, lift: float, seed: int = 4) -> None:
    draw = random.Random(seed)
    for k in range(users):
        challenger = draw.random() < 0.5
        request = story.ask(k, f"u{k}", challenger=challenger)
        story.tell(k, request, 10.0 if draw.random() < 0.3 + challenger * lift else 0.0)


def test_whoever_reads_at_whatever_moments_reads_the_same(story: Story) -> None:
    _many(story, users=600, lift=0.2)
    lines = story.path.read_bytes()
    whole = story.at(10_000)
    story.path.write_bytes(b"")
    going = Events(story.plan, EventFile(story.path))
    for place in range(0, len(lines), 1003):
        with story.path.open("ab") as stream:
            stream.write(lines[place : place + 1003])
        going.reading(datetime.fromtimestamp(0, UTC))
        going.reading(datetime.fromtimestamp(place / 100, UTC))
    assert going.reading(datetime.fromtimestamp(10_000, UTC)) == whole
    # An earlier moment is not what was written after it.
    assert story.at(300).champion.exposed < whole.champion.exposed


@pytest.mark.parametrize(
    ("lift", "better", "verdict"),
    [
        (0.3, "higher", "better"),
        (0.3, "lower", "worse"),
        (-0.2, "higher", "worse"),
        (0, "higher", "open"),
    ],
)
def test_the_reading_is_decided_by_the_better_side(
    story: Story, lift: float, better: str, verdict: str
) -> None:
    story.plan = story.plan.model_copy(update={"better": better})
    _many(story, users=900, lift=lift)
    shown = story.at(10_000)
    assert shown.verdict == verdict
    assert shown.low is not None
    assert shown.high is not None
    assert shown.low <= shown.difference <= shown.high  # type: ignore[operator]
    assert (shown.low > 0 or shown.high < 0) == (verdict != "open")


def test_arms_that_do_not_get_their_users_are_not_trusted(story: Story) -> None:
    for k in range(400):
        story.tell(k, story.ask(k, f"u{k}", challenger=k % 3 == 0), 10.0 if k % 3 == 0 else 0.0)
    shown = story.at(10_000)
    assert shown.verdict == "not trusted"
    assert "not by chance" in shown.sentence


def test_damaged_lines_are_counted_and_half_a_line_waits(story: Story) -> None:
    story.tell(1, story.ask(0, "ann"), 4.0)
    with story.path.open("a") as stream:
        stream.write('{"e": "request"}\nnonsense\n\n{"e": "feedback", "t": 2, "id')
    shown = story.at(200)
    assert (shown.champion.users, shown.damaged) == (1, 2)


def test_an_experiment_without_events_shows_nothing(tmp_path: Path) -> None:
    shown = Events(PLAN, EventFile(tmp_path / "none")).reading(datetime.now(UTC))
    assert (shown.verdict, shown.difference) == ("open", None)
