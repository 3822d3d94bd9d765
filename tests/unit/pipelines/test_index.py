"""The page of a project: what its runs left, linked, whatever their names hold."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.pipelines.cli import main
from penstock.pipelines.index import refresh_index
from penstock.pipelines.located import Located, locate
from penstock.pipelines.outputs import collect_pages
from penstock.records.decision import Decision, RuleResult
from penstock.records.release import Registration
from penstock.records.rollout import Rollout
from penstock.reports.page import page

NASTY = "<script>alert('x')</script> & \"y\""


@pytest.fixture
def project(tmp_path: Path) -> Located:
    uri = json.dumps(f"{NASTY}.csv")
    (tmp_path / "project.yaml").write_text(
        f"name: loans\ntarget: {json.dumps(NASTY)}\nsource: {{uri: {uri}}}\n"
    )
    return locate(tmp_path / "project.yaml")


def decided(*, approved: bool) -> Decision:
    rule = RuleResult(
        rule="baseline", severity="block", verdict="pass" if approved else "fail", value=0.1,
        bound=0.0, sentence=NASTY,
    )  # fmt: skip
    other = rule.model_copy(update={"rule": "linear", "severity": "warn", "verdict": "fail"})
    return Decision(
        approved=approved, model="m", dataset="d", evaluation="e", policy="p", rules=(rule, other)
    )


def ran(project: Located, stamp: str, *, outcome: str = "released", version: int = 1) -> Path:
    """Leave what a run leaves."""
    run = project.home / "runs" / stamp
    task = run / "kfp" / "release-1"
    for name in ("decide", "register", "train"):
        (task / name).mkdir(parents=True)
    approved = outcome != "refused"
    decision = decided(approved=approved)
    (task / "decide" / "decision").write_text(decision.dumps())
    report = page(title=NASTY, kind="Decision", status="good", verdict="v", facts=[], sections=[])
    for name in ("decide", "train"):
        (task / name / "report").write_text(report)
    if approved:
        registration = Registration(
            name="loans", version=version, uri=f"models:/loans/{version}", model="m",
            decision=decision.digest(), dataset="d", mlflow_run="r",
        )  # fmt: skip
        (task / "register" / "registration").write_text(registration.dumps())
    collect_pages(run, home=project.home, name=NASTY)
    summary = {"outcome": outcome, "reason": NASTY, "settings": ["training.trials=5"]}
    (run / "summary.json").write_text(json.dumps(summary))
    return run


def links(text: str) -> list[str]:
    return re.findall(r'href="([^"#]+)"', text)


def test_nothing_is_written_where_nothing_ran(project: Located) -> None:
    assert refresh_index(project) is None
    assert not project.home.exists()


def test_it_shows_every_run_and_escapes_what_it_names(project: Located) -> None:
    ran(project, "2026-11-28T10-00-00")
    ran(project, "2026-11-28T11-00-00", outcome="refused")
    (project.home / "runs" / "2026-11-28T12-00-00").mkdir()
    index = refresh_index(project)
    assert index == project.home / "index.html"
    assert index is not None
    html = index.read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    for said in ("2026-11-28 10:00:00", "refused", "unfinished"):
        assert said in html
    assert "1 rule passed, 0 do not apply, 1 failed" in html
    assert "0 rules passed, 0 do not apply, 2 failed" in html
    assert "Settings: training.trials=5." in html
    assert "Nothing is being served" in html
    assert len(links(html)) >= 6
    for link in links(html):
        assert (index.parent / link).is_file(), link


def test_what_is_older_is_counted(project: Located, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.pipelines.ui.seen._RUNS", 2)
    for hour in range(10, 15):
        ran(project, f"2026-11-28T{hour}-00-00")
    index = refresh_index(project)
    assert index is not None
    assert "3 older runs are not shown." in index.read_text()
    assert "2026-11-28 14:00:00" in index.read_text()
    assert "2026-11-28 12:00:00" not in index.read_text()


def test_pages_lead_back_and_to_one_another_wherever_the_folder_is(project: Located) -> None:
    run = ran(project, "2026-11-28T10-00-00")
    refresh_index(project)
    moved = project.folder / "elsewhere"
    project.home.rename(moved)
    decision = moved / run.relative_to(project.home) / "reports" / "decision.html"
    html = decision.read_text()
    assert links(html) == ["../../../index.html", "training.html"]
    assert '<li aria-current="page">Decision</li>' in html
    assert "<script" not in html
    for link in links(html):
        assert (decision.parent / link).is_file()
    output = next(moved.glob("runs/*/kfp/*/decide/report")).read_text()
    assert links(output) == []


def test_a_version_stands_as_its_newest_canary_left_it(project: Located) -> None:
    ran(project, "2026-11-28T10-00-00")
    second = ran(project, "2026-11-28T11-00-00", outcome="rolled_back", version=2)
    rollout = Rollout(
        identity="2-x", service="loans", router="local", url="http://127.0.0.1:1", candidate=2,
        stable=1, uri="models:/loans/2", model="m", decision="d", started=datetime.now(UTC),
        plan={}, outcome="rolled_back", reason="Too slow.",
    )  # fmt: skip
    task = second / "kfp" / "release-1" / "deploy"
    task.mkdir()
    (task / "rollout").write_text(rollout.dumps())
    cluster = locate(project.folder / "project.yaml", settings=["deployment.router=kserve"])
    index = refresh_index(cluster)
    assert index is not None
    html = index.read_text()
    assert "It serves on a cluster" in html
    assert re.search(r">2</td><td[^>]*><span class=\"badge bad\">rolled back", html)
    assert re.search(r">1</td><td[^>]*>not known", html)
    assert "Too slow." in html


def test_stop_does_not_pass_over_a_wrong_folder(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["stop"]) == 2
    assert "there is no project here" in capsys.readouterr().err


def test_stop_writes_it_again(project: Located, capsys) -> None:
    ran(project, "2026-11-28T10-00-00")
    assert main(["stop", str(project.folder / "project.yaml")]) == 0
    assert (project.home / "index.html").is_file()
    (project.folder / "project.yaml").write_text("name: [")
    assert main(["stop", str(project.folder / "project.yaml")]) == 0


def test_a_page_that_cannot_be_written_ends_no_command(project: Located, capsys) -> None:
    ran(project, "2026-11-28T10-00-00")
    (project.home / "index.html").mkdir()  # a folder is in its place
    assert main(["stop", str(project.folder / "project.yaml")]) == 0
    assert "index.html was not written" in capsys.readouterr().err


def test_it_shows_no_password_of_the_table(tmp_path: Path) -> None:
    uri = "postgresql://me:secret@db.internal/loans"
    (tmp_path / "project.yaml").write_text(
        f"name: loans\ntarget: y\nsource: {{uri: '{uri}', query: 'SELECT 1'}}\n"
    )
    found = locate(tmp_path / "project.yaml")
    ran(found, "2026-11-28T10-00-00")
    refresh_index(found)
    html = (found.home / "index.html").read_text()
    assert "db.internal/loans" in html
    assert "secret" not in html
