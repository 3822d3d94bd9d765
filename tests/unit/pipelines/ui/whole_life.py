"""The home of a service that has seen everything, written by what writes each part of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlflow import MlflowClient

from penstock import tracking
from penstock.captures.files import Bounds
from penstock.captures.segments import CapturedModel
from penstock.gate.evaluation import Evaluation
from penstock.monitoring.store.state import MonitorFolder
from penstock.pipelines.located import Located, locate
from penstock.pipelines.outputs import collect_pages
from penstock.records.approval import Identity
from penstock.records.dataset import Column
from penstock.records.decision import Decision, RuleResult
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Scores
from penstock.records.guard import Guard, GuardLimit
from penstock.records.monitoring import Action, MonitorState, Totals, Verdict, VerdictKind
from penstock.records.release import Registration
from penstock.records.rollout import ArmSummary, Rollout
from penstock.registry import approvals, audit, versions
from penstock.registry.audit import CANARY, Actor
from penstock.registry.champion import set_champion
from penstock.reports.page import page
from penstock.rollout.journal import Journal
from penstock.rollout.store import FolderStore
from penstock.serving.capture import Capture, Rows

NAME = "loans"
DATA = "rows1:0123456789abcdef0123456789abcdef"
HOUR = timedelta(hours=1)


def project_in(folder: Path, *, source: str = "loans.csv", more: str = "") -> Located:
    """A project file, and nothing that ran."""
    path = folder / "project.yaml"
    path.write_text(f"name: {NAME}\ntarget: paid\nsource: {{uri: {source}}}\n{more}")
    return locate(path)


def lived_in(folder: Path, *, now: datetime) -> Located:
    """Three versions: the first champion, the second, and one that was rejected."""
    project = project_in(folder)
    ran(project, "2026-11-28T10-00-00", version=1)
    ran(project, "2026-11-28T11-00-00", version=2)
    ran(project, "2026-11-28T12-00-00", version=None)
    registered(project)
    rolled_out(project, 1, stable=None)
    rolled_out(project, 2, stable=1)
    rolled_out(project, 3, stable=2, fails=True)
    watched(project, now=now)
    captured(project)
    return project


def ran(project: Located, stamp: str, *, version: int | None) -> Path:
    """Leave what a run leaves; without a version the gate refused it."""
    run = project.home / "runs" / stamp
    task = run / "kfp" / "release-1"
    for name in ("decide", "register", "train", "evaluate"):
        (task / name).mkdir(parents=True)
    rule = RuleResult(
        rule="floor roc_auc", severity="block", verdict="pass" if version else "fail", value=0.8,
        bound=0.7, sentence="roc_auc is 0.8.",
    )  # fmt: skip
    decision = Decision(
        approved=version is not None, model="m", dataset="d", evaluation="e", policy="p",
        rules=(rule,),
    )  # fmt: skip
    (task / "decide" / "decision").write_text(decision.dumps())
    (task / "evaluate" / "evaluation").write_text(evaluation())
    for name, kind in (("decide", "Decision"), ("train", "Training")):
        report = page(title=NAME, kind=kind, status="good", verdict="v", facts=[], sections=[])
        (task / name / "report").write_text(report)
    (run / "kfp.log").write_text("what the steps printed\n")
    if version:
        registration = Registration(
            name=NAME, version=version, uri=f"models:/{NAME}/{version}",
            model=f"sha256:{version}", decision=decision.digest(), dataset="d", mlflow_run="r",
        )  # fmt: skip
        (task / "register" / "registration").write_text(registration.dumps())
    collect_pages(run, home=project.home, name=NAME)
    summary = {
        "outcome": "released" if version else "refused",
        "reason": "It was promoted." if version else "The gate refused it.",
        "data_version": DATA,
    }
    (run / "summary.json").write_text(json.dumps(summary))
    return run


def evaluation() -> str:
    score = Estimate(value=0.812, low=0.8, high=0.824)
    return Evaluation(
        task="binary", metric="roc_auc", higher_is_better={"roc_auc": True}, dataset="d",
        model="m", rows=100, confidence=0.95, resamples=1, seed=0,
        scores=(Scores(name="candidate", description="boosting (depth=2)", model="m",
                       metrics={"roc_auc": score}),),
        comparisons=(),
    ).dumps()  # fmt: skip


def registered(project: Located) -> None:
    """Three versions in a store; two of them were champions, the third is rejected."""
    uri = project.tracking_uri
    store: MlflowClient = tracking.client(uri)
    store.create_registered_model(NAME)
    for number in (1, 2, 3):
        tags = {
            versions.MODEL_DIGEST: f"sha256:{number}",
            versions.DATASET: DATA,
            versions.DECISION_DIGEST: "sha256:d",
        }
        store.create_model_version(NAME, source="s3://bucket/model", tags=tags)
        uri_of = f"models:/{NAME}/{number}"
        audit.record(store, NAME, event="registered", uri=uri_of, actor=Actor("ann"))
    approvals.give(
        f"models:/{NAME}/3", verdict="rejected", by=Identity(name="bea", means="stated"),
        reason="It looks odd.", tracking_uri=uri,
    )  # fmt: skip
    for number in (1, 2):
        actor = Actor(name=CANARY, reason=f"Version {number} was as good.")
        set_champion(NAME, number, tracking_uri=uri, event="promoted", actor=actor)


def rolled_out(project: Located, version: int, *, stable: int | None, fails: bool = False) -> None:
    """A canary with a step at 10 %, by its own journal."""
    identity = f"{version}-run"
    folder = project.home / "serving" / NAME / "rollouts" / identity
    journal = Journal(FolderStore(folder))
    planned = Rollout(
        identity=identity, service=NAME, router="local", url="http://127.0.0.1:1",
        candidate=version, stable=stable, uri=f"models:/{NAME}/{version}", model="m", decision="d",
        started=datetime.now(UTC), plan={},
    )  # fmt: skip
    journal.begin(planned, reason="It is brought up.")
    journal.go("step", reason="It is ready.", weight=10)
    if fails:
        journal.go("rollback", reason="It failed too many requests.")
    else:
        journal.go("promote", reason="Every rule passed.", weight=100)
    journal.go("done", reason="It is done.")


def watched(project: Located, *, now: datetime) -> None:
    """A monitor that saw drift an hour before `now`, after two healthy looks, and a guard."""
    folder = MonitorFolder(project.home)
    kinds: tuple[VerdictKind, ...] = ("healthy", "healthy", "drifted")
    verdicts = [
        Verdict(
            service=NAME, version=2, number=number, time=now - (4 - number) * HOUR, kind=kind,
            before=kinds[number - 2] if number > 1 else None,
            headline=f"Look {number} was {kind}.", reasons=(f"Look {number}.",),
            bound="At most one a year.",
            done=("It was suggested to train again.",) if kind == "drifted" else (),
            advice=("Look at amount.",) if kind == "drifted" else (),
        )
        for number, kind in enumerate(kinds, start=1)
    ]  # fmt: skip
    for verdict in verdicts:
        folder.keep(verdict)
    newest = verdicts[-1]
    suggested = Action(
        kind="suggested", time=newest.time, number=3, reason="Train again: amount changed."
    )
    folder.write(
        MonitorState(
            service=NAME, version=2, number=3, time=newest.time, verdict=newest,
            actions=(suggested,), totals=Totals(looks=3, actions={"suggested": 1}),
            guard=guard(since=now - 30 * HOUR),
        )
    )  # fmt: skip
    folder.page.write_text("<!DOCTYPE html><title>The monitor's page</title>")


def guard(*, since: datetime) -> Guard:
    return Guard(
        version=2, former=1, rollout="2-run", since=since,
        limits=(GuardLimit(signal="errors", expected=0.01, reference=1000, tolerance=0.02,
                           greatest=0.04),),
        open=("The loss is not guarded: 3 labelled requests are too few to compare with.",),
        seen=ArmSummary(requests=200, server_errors=5),
        detector={"some": "state"}, log_evidence=0.5, threshold=8.0,
    )  # fmt: skip


def captured(project: Located) -> None:
    """Three rows of version 2, by the server's own writer."""
    model = CapturedModel(
        service=NAME, version="2", task="binary", classes=("no", "yes"), positive="yes",
        columns=(Column(name="amount", type="number"),),
    )  # fmt: skip
    folder = project.home / "serving" / NAME / "captures" / "version-2"
    capture = Capture(
        folder, bounds=Bounds(), written=lambda _: None, dropped=lambda _: None, model=model,
        sample=1.0,
    )  # fmt: skip
    for number in range(3):
        rows = Rows(
            request_id=str(number), time=1_800_000_000.0 + number, version="2", mirrored=False,
            replayed=False, inputs={"amount": [1.5]}, scores=[0.25], labels=["no"],
        )  # fmt: skip
        capture.rows(rows, size=10)
    capture.close()
