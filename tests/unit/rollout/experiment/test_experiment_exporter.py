"""What Prometheus reads of an experiment."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from experiment_parts import BEGIN, PLAN, READING, rollout

from penstock.errors import IntegrityError, ServiceError
from penstock.notification import NotifySpec
from penstock.records.experiment import KPI, ExperimentOrder
from penstock.records.rollout import Finding, Transition
from penstock.rollout.experiment import exporter, papers
from penstock.rollout.experiment.exporter import Standing, families

GUARD = Finding(
    rule="errors", verdict="inconclusive", value=0.0, bound=0.01, sentence="Nothing failed yet."
)


def figures(found: Standing) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, the service left out."""
    return {
        (sample.name.removeprefix("penstock_experiment_"), *(
            value for key, value in sorted(sample.labels.items()) if key != "service"
        )): sample.value
        for family in families(found, service="loans")
        for sample in family.samples
    }  # fmt: skip


def test_an_experiment_under_way() -> None:
    found = figures(Standing(rollout(), PLAN, READING, (GUARD,), driven=True))
    assert found["under_way",] == found["watched",] == 1
    assert found["started_timestamp_seconds",] == BEGIN.timestamp()
    assert found["last_look_timestamp_seconds",] == BEGIN.timestamp() + 3600
    assert found["planned_users",] == PLAN.users
    assert found["weight_ratio",] == 0.2
    assert found["users", "champion", "given"] == 400
    assert found["users", "challenger", "counted"] == 80
    assert found["mean", "challenger"] == 0.15
    bounds = [found["difference", bound, "value"] for bound in ("low", "value", "high")]
    assert bounds == [0.01, 0.05, 0.09]
    assert found["verdict", "better"] == 1
    assert found["verdict", "worse"] == found["verdict", "open"] == 0
    assert found["guard", "errors", "inconclusive"] == 1
    assert {value for key, value in found.items() if key[0] == "ended"} == {0}
    assert ("ended_timestamp_seconds",) not in found


def test_before_the_first_look_nothing_is_shown_of_users() -> None:
    found = figures(Standing(rollout(), PLAN, None, (), driven=False))
    assert (found["under_way",], found["watched",]) == (1, 0)
    assert not {key[0] for key in found} & {"users", "mean", "verdict", "difference", "guard"}


def test_how_it_ended() -> None:
    over = Transition(sequence=1, time=BEGIN, phase="done", weight=0, reason="So it was.")
    harmed = Transition(
        sequence=1, time=BEGIN, phase="rollback", weight=0, reason="It failed.",
        findings=(GUARD.model_copy(update={"verdict": "fail"}),),
    )  # fmt: skip
    first = rollout().transitions[0]
    ended = rollout(outcome="rolled_back", transitions=(first, harmed, over))
    found = figures(Standing(ended, PLAN, READING, (), driven=False))
    assert found["under_way",] == 0
    assert found["ended_timestamp_seconds",] == BEGIN.timestamp()
    outcomes = {key[3]: value for key, value in found.items() if key[0] == "ended"}
    assert outcomes == {"promoted": 0, "kept": 0, "harm": 1, "broken off": 0}
    assert ("ended", "4", "3", "harm") in found


def test_a_look_that_another_release_noted_is_an_error_of_ours(monkeypatch) -> None:
    journal = SimpleNamespace(
        exists=True,
        name="e1",
        rollout=rollout(),
        order=ExperimentOrder.model_construct(experiment=PLAN),
        note=lambda _: '{"of": "a later release"}',
    )
    monkeypatch.setattr(exporter, "Journal", lambda _: journal)
    target: Any = SimpleNamespace(stores=lambda: ["e1"])
    with pytest.raises(ServiceError, match="another release wrote it"):
        exporter.standing(target)


def test_a_reading_that_another_release_ended_on_is_refused_by_name(monkeypatch) -> None:
    kpi = Finding(rule=KPI, verdict="pass", value=0.1, bound=0.0, sentence="It is better.")
    end = Transition(
        sequence=1, time=BEGIN, phase="rollback", weight=0, reason="Stopped.", findings=(kpi,)
    )
    ended = rollout(outcome="rolled_back", transitions=(*rollout().transitions, end))
    journal = SimpleNamespace(
        exists=True,
        name="4-experiment-x",
        rollout=ended,
        order=ExperimentOrder.model_construct(experiment=PLAN),
        note=lambda _: '{"of": "a later release"}',
    )
    monkeypatch.setattr(papers, "Journal", lambda _: journal)
    target: Any = SimpleNamespace(stores=lambda: ["4-experiment-x"])
    with pytest.raises(IntegrityError, match=r"experiment 4-experiment-x: note 'reading': .*kept"):
        papers.shown(target, place=papers.Place(Path(), "", NotifySpec(), Path()))
