"""What people get when a run on Kubeflow has ended: once at each place, with the cause."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rollout_stories as stories
from receivers import Received, receivers
from registry_emulator import MlflowRegistry

from penstock import tracking
from penstock.errors import InputError, ServiceError
from penstock.records.approval import ApprovalOutcome
from penstock.records.base import Record
from penstock.records.decision import Decision, RuleResult
from penstock.records.release import Registration
from penstock.records.run_end import RunEnd
from penstock.registry.by_run import PIPELINE_RUN, rollout_of
from penstock.registry.champion import set_champion
from penstock.registry.champion_history import PROMOTED
from penstock.registry.run_ends import PREFIX, RunEnds
from penstock.registry.versions import (
    DECISION_DIGEST,
    MODEL_DIGEST,
    ROLLED_BACK,
    registered_model,
)
from penstock.rollout.end_notice import notify_of_end
from penstock.rollout.run_ended import (
    CALLER_NOTIFIES,
    note_refusal,
    note_release,
    noting_error,
)

NOBODY = "http://127.0.0.1:9"


def decision(*, approved: bool) -> Decision:
    rule = RuleResult(
        rule="floor roc_auc", severity="block", verdict="pass" if approved else "fail",
        value=0.71, bound=0.8, sentence="roc_auc is 0.710, below the bound 0.8.",
    )  # fmt: skip
    return Decision(
        approved=approved, model="sha256:1", dataset="rows1:2", evaluation="sha256:3",
        policy="sha256:4", rules=(rule,),
    )  # fmt: skip


REJECTED = ApprovalOutcome(
    uri="models:/loans/7", model="sha256:1", decision="sha256:2", approved=False,
    sentence="Rejected by ann: too many refusals.",
)  # fmt: skip


REGISTERED = Registration(
    name="loans",
    version=7,
    uri="models:/loans/7",
    model="sha256:1",
    decision="sha256:2",
    dataset="rows1:2",
    mlflow_run="m",
)


@dataclass
class Run:
    """A run on Kubeflow, of which only its last steps are here."""

    received: Received
    uri: str
    name: str = "run-1"

    def refused(self, reason: str, record: Record, folder: Path) -> str:
        record.write(folder / "evidence.json")
        return note_refusal(
            reason, evidence=folder / "evidence.json", name="loans", run=self.name,
            tracking_uri=self.uri,
        )  # fmt: skip

    def ends(self, state: str = "FAILED", **changes: str) -> None:
        notify_of_end(
            state,
            **{"name": "loans", "run": self.name, "tracking_uri": self.uri, "error": ""} | changes,
            notify=self.received.spec.model_dump(mode="json"),
        )

    def registers(self, *, promoted: bool = False, **tags: str) -> int:
        """Have the run register a version, and promote it or not."""
        store = tracking.client(self.uri)
        if registered_model(store, "loans") is None:
            store.create_registered_model("loans")
        tags |= {PIPELINE_RUN: self.name, MODEL_DIGEST: "sha256:1"}
        made = store.create_model_version("loans", "file:///model", tags=tags)
        if promoted:
            set_champion("loans", int(made.version), tracking_uri=self.uri, event=PROMOTED)
        return int(made.version)

    def told(self) -> tuple[str, str]:
        """Kind and text of the one message that each place got."""
        self.received.require_same()
        (event,) = self.received.events
        assert event["id"] == f"loans-{self.name}-{event['type'].rpartition('.')[2]}"
        return event["type"].removeprefix("io.penstock.release."), event["data"]["text"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with receivers(tmp_path) as received:
        yield Run(received, MlflowRegistry(tmp_path).tracking_uri)


def test_a_refusal_by_the_gate_has_its_grounds_and_comes_once(run: Run, tmp_path: Path) -> None:
    run.refused("The gate refused the candidate.", decision(approved=False), tmp_path)
    run.ends()
    # The task is tried again: its pod was lost after it had done its work.
    run.ends()
    kind, text = run.told()
    assert kind == "refused"
    assert text.startswith("loans: not released, it was refused. The gate refused the candidate. ")
    assert "roc_auc is 0.710, below the bound 0.8. Run of Kubeflow: run-1." in text


@pytest.mark.parametrize(
    ("record", "kind", "cause", "version"),
    [
        (REJECTED, "refused", "Rejected by ann: too many refusals. Run", 7),
        (stories.with_errors(), "rolled_back", stories.with_errors().reason.rstrip("."), None),
    ],
)
def test_what_people_and_the_canary_did_not_let_through(
    run: Run, tmp_path: Path, record: Record, kind: str, cause: str, version: int | None
) -> None:
    why = run.refused("It was not released.", record, tmp_path)
    run.ends()
    assert run.told()[0] == kind
    assert cause in run.told()[1]
    assert why.startswith("It was not released. ")
    found = run.received.events[0]["data"]["version"]
    assert found == (version or stories.with_errors().candidate)


def test_a_promotion_is_told_with_what_it_rests_on(run: Run) -> None:
    rollout = stories.good()
    note_release(rollout, decision(approved=True), run=run.name, tracking_uri=run.uri)
    # What Kubeflow 2.17 says of a run that succeeded.
    run.ends("COMPLETE", name=rollout.service)
    run.received.require_same()
    (event,) = run.received.events
    assert event["type"] == "io.penstock.release.released"
    assert f"version {rollout.candidate}" in event["data"]["text"].lower()
    assert "Approved" in event["data"]["text"]
    assert event["data"]["version"] == rollout.candidate


def test_a_run_whose_step_failed_is_never_called_refused(run: Run) -> None:
    run.ends("FAILED")
    kind, text = run.told()
    assert kind == "failed"
    assert "A step of it ended with an error" in text


def failing(run: Run, error: Exception) -> None:
    """Have the step `deploy` end with an error."""
    with (
        pytest.raises(type(error)),
        noting_error("deploy", REGISTERED, run=run.name, tracking_uri=run.uri),
    ):
        raise error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ServiceError("the gateway has no address", where="Gateway a/b"), "no address"),
        (KeyError("cells"), "KeyError: 'cells'"),
    ],
)
def test_a_step_that_fails_is_told_with_its_error(run: Run, error: Exception, cause: str) -> None:
    failing(run, error)
    run.ends("FAILED")
    kind, text = run.told()
    assert kind == "failed"
    assert "Its step deploy ended with an error: " in text
    assert cause in text


def test_an_error_that_another_attempt_made_good_is_not_how_it_ended(run: Run) -> None:
    failing(run, ServiceError("the gateway has no address"))
    run.ends("COMPLETE")
    assert "no address" not in run.told()[1]


def test_what_kubeflow_says_of_a_step_is_told(run: Run) -> None:
    run.ends("FAILED", error="train: the container ran out of memory")
    assert "train: the container ran out of memory." in run.told()[1]


def test_success_without_a_release_is_told_once(run: Run) -> None:
    run.registers()
    run.ends("COMPLETE")
    run.ends("COMPLETE")
    assert run.told()[0] == "failed"


def test_success_that_no_step_has_written_down_is_no_release(run: Run) -> None:
    run.ends("SUCCEEDED")
    kind, text = run.told()
    assert kind == "failed"
    assert "no step has written down that a version was promoted" in text


def test_a_run_that_was_ended_by_a_person_says_so(run: Run) -> None:
    run.ends("CANCELLED")
    assert "It ended as CANCELLED." in run.told()[1]


def test_a_registry_that_is_away_costs_the_cause_and_not_the_message(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.uri, uri = NOBODY, run.uri
    run.refused("The gate refused the candidate.", decision(approved=False), tmp_path)
    assert "could not be written down" in capsys.readouterr().out
    run.uri = uri
    run.ends()
    assert run.told()[0] == "failed"
    run.received.spec = run.received.spec.model_copy(update={"kubeflow": "https://kf.example/"})
    run.ends(tracking_uri=NOBODY, run="run-2")
    event = run.received.events[1]
    # Nobody knows, so nobody is told that it was released, or that it was not.
    assert event["type"] == "io.penstock.release.unknown"
    text = event["data"]["text"]
    assert text.startswith("loans: whether it was released is not known. A step of it ended with")
    assert "could not be read from MLflow. What its steps wrote cannot be read" in text
    assert "Run of Kubeflow: run-2 (https://kf.example/#/runs/details/run-2)." in text


@pytest.mark.parametrize("state", ["COMPLETE", "FAILED"])
def test_a_promotion_that_deploy_could_not_write_down_is_told_by_the_registry(
    run: Run, state: str
) -> None:
    version = run.registers(promoted=True)
    if state == "FAILED":
        failing(run, ServiceError("the report could not be written"))
    run.ends(state)
    kind, text = run.told()
    assert kind == "released"
    assert (
        f"loans: released. By the registry version {version}, which it registered, became" in text
    )
    assert ("the report could not be written" in text) == (state == "FAILED")
    assert run.received.events[0]["data"]["version"] == version


@pytest.mark.parametrize("state", ["COMPLETE", "FAILED"])
def test_a_promotion_of_what_an_earlier_run_registered_is_told_by_the_registry(
    run: Run, state: str
) -> None:
    earlier = Run(run.received, run.uri, "run-0")
    version = earlier.registers(**{DECISION_DIGEST: "sha256:2"})
    own = rollout_of(run.name, version=version, model="sha256:1", decision="sha256:2")
    set_champion("loans", version, tracking_uri=run.uri, event=PROMOTED, rollout=own)
    if state == "FAILED":
        failing(run, ServiceError("the report could not be written"))
    run.ends(state)
    kind, text = run.told()
    assert kind == "released"
    assert "which an earlier run registered and it released, became the champion" in text


def test_a_version_of_an_earlier_run_that_another_promoted_is_no_release(run: Run) -> None:
    Run(run.received, run.uri, "run-0").registers(promoted=True, **{DECISION_DIGEST: "sha256:2"})
    run.ends("FAILED")
    assert run.told()[0] == "failed"


def test_a_promotion_after_which_another_came_is_told_with_that(run: Run) -> None:
    run.registers(promoted=True)
    other = Run(run.received, run.uri, "run-2").registers(promoted=True)
    run.ends("COMPLETE")
    assert f"became the champion, and version {other} is it now." in run.told()[1]


@pytest.mark.parametrize(
    ("tags", "kind", "cause"),
    [
        ({}, "failed", "By the registry version 1, which it registered, was not promoted."),
        ({ROLLED_BACK: "Too many errors."}, "rolled_back", "Too many errors."),
    ],
)
def test_a_version_that_the_registry_did_not_promote_is_not_called_released(
    run: Run, tags: dict[str, str], kind: str, cause: str
) -> None:
    run.registers(**tags)
    run.ends("FAILED")
    assert run.told()[0] == kind
    assert cause in run.told()[1]


def test_a_failure_that_was_told_does_not_hide_the_promotion_of_the_same_run(run: Run) -> None:
    failing(run, ServiceError("the gateway has no address"))
    run.ends("FAILED")
    # A person retries the run in Kubeflow, and what deploy writes of its success is lost.
    run.registers(promoted=True)
    run.ends("COMPLETE")
    run.received.require_same()
    assert run.received.types == ["release.failed", "release.released"]


def test_a_place_that_was_away_gets_it_from_the_next_attempt_and_no_other_again(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.refused("The gate refused the candidate.", decision(approved=False), tmp_path)
    run.received.away.update(("/hook", "/events"))
    run.ends()
    assert "did not accept it" in capsys.readouterr().out
    assert (len(run.received.mails), len(run.received.lines)) == (1, 1)
    run.received.away.discard("/hook")
    run.ends()
    assert (len(run.received.hooks), len(run.received.events)) == (1, 0)
    run.received.away.clear()
    run.ends()
    assert run.told()[0] == "refused"
    run.ends()
    assert "people were notified already" in capsys.readouterr().out


def test_what_an_earlier_release_noted_is_not_sent_again(run: Run) -> None:
    ends = RunEnds("loans", tracking_uri=run.uri)
    kept = {
        "record": "penstock/run-end", "schema_version": 1, "outcome": "refused", "reason": "No.",
        "version": None, "time": "2026-11-29T00:00:00Z", "notified": True,
    }  # fmt: skip
    ends._store.set_experiment_tag(ends.experiment, PREFIX + run.name, json.dumps(kept))
    run.ends()
    assert run.received.events == []


def test_a_command_that_runs_it_here_notifies_people_itself(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CALLER_NOTIFIES, "1")
    run.refused("The gate refused the candidate.", decision(approved=False), tmp_path)
    run.ends()
    assert (run.received.events, run.received.lines) == ([], [])
    assert RunEnds("loans", tracking_uri=run.uri).read(run.name) is None


def test_wrong_places_are_refused(run: Run) -> None:
    with pytest.raises(InputError, match="notify"):
        notify_of_end(
            "FAILED", name="loans", run="r", notify={"webhok": "x"}, tracking_uri="", error=""
        )


def test_the_newest_ends_are_kept(run: Run) -> None:
    ends = RunEnds("loans", tracking_uri=run.uri)
    start = datetime(2026, 11, 29, tzinfo=UTC)
    for number in range(23):
        time = start + timedelta(minutes=number)
        ends.write(f"r{number}", RunEnd(outcome="refused", reason="\x01" * 9000, time=time))
    ends.prune()
    assert ends.read("r2") is None
    found = ends.read("r3")
    assert found is not None
    assert found.reason
    # What is no record is the first to go.
    ends._store.set_experiment_tag(ends.experiment, f"{PREFIX}torn", "{")
    with pytest.raises(InputError):
        ends.read("torn")
    ends.prune()
    assert ends.read("torn") is None
    assert ends.read("r3") is not None
