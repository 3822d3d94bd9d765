"""Every kind of message of an experiment, as real receivers get it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from experiment_parts import BEGIN, PLAN, READING
from receivers import receivers

from penstock.notification import deliver
from penstock.records.experiment import Ending, Experiment
from penstock.rollout.experiment.papers import notice_of


@pytest.mark.parametrize(
    ("outcome", "kind", "words"),
    [
        ("promoted", "promoted", "version 4 won the experiment and is the champion"),
        ("kept", "kept", "version 3 stays the champion, for the experiment ended without a winner"),
        ("harm", "harm", "the experiment with version 4 was ended for harm"),
        ("broken off", "broken_off", "the experiment with version 4 was broken off"),
    ],
)
def test_each_place_gets_how_it_ended_with_its_cause_and_its_page(
    tmp_path: Path, outcome: Ending, kind: str, words: str
) -> None:
    record = Experiment(
        identity="4-experiment-x", service="loans", champion=3, challenger=4, plan=PLAN, by="ann",
        started=BEGIN, ended=BEGIN + timedelta(days=1), outcome=outcome, reason="Stopped by ben.",
        reading=READING,
    )  # fmt: skip
    with receivers(tmp_path) as received:
        page = tmp_path / "page.html"
        assert deliver(notice_of(record, page), to=received.spec, folder=tmp_path) == []
        received.require_same()
    (event,) = received.events
    assert received.types == [f"experiment.{kind}"]
    assert event["source"] == "/penstock/experiment/loans"
    assert event["data"]["text"] == f"loans: {words}. Stopped by ben. Page: {page}"
    assert received.lines[0]["state"] == kind
