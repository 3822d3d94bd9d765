"""What people get when a run has ended that somebody started here."""

from __future__ import annotations

from pathlib import Path

import pytest
from receivers import receivers

from penstock.pipelines.located import Located, locate
from penstock.pipelines.run_notice import notify_of
from penstock.pipelines.run_result import RunResult
from penstock.records.run_end import Outcome


def project_in(folder: Path) -> Located:
    path = folder / "project.yaml"
    path.write_text("{name: loans, target: paid, source: {uri: loans.csv}}")
    return locate(path)


def ended(found: Located, outcome: Outcome) -> RunResult:
    return RunResult(
        outcome=outcome, reason="roc_auc is 0.6, below 0.7.", folder=found.home / "runs" / "r",
        log=found.home / "log", home=found.home, tracking_uri="",
    )  # fmt: skip


@pytest.mark.parametrize("outcome", ["released", "refused", "rolled_back", "failed"])
def test_each_place_gets_the_cause_and_the_page(tmp_path: Path, outcome: Outcome) -> None:
    found = project_in(tmp_path)
    with receivers(tmp_path) as received:
        project = found.project.model_copy(update={"notify": received.spec})
        found = Located(project=project, folder=found.folder)
        notify_of(ended(found, outcome), found=found)
        received.require_same()
    (event,) = received.events
    assert event["type"] == f"io.penstock.release.{outcome}"
    assert "roc_auc is 0.6, below 0.7. Page: file:///" in event["data"]["text"]


def test_a_run_that_others_asked_for_is_left_to_them(tmp_path: Path) -> None:
    found = project_in(tmp_path)
    with receivers(tmp_path) as received:
        project = found.project.model_copy(update={"notify": received.spec})
        found = Located(project=project, folder=found.folder)
        result = ended(found, "failed")
        notify_of(result, found=found, summary=tmp_path / "summary.json")
        assert received.events == []
        notify_of(result, found=found)
        received.require_same()
    assert received.types == ["release.failed"]
