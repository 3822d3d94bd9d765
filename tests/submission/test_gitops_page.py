"""docs/gitops.md: its commands in their order, for a project of a cluster and its schedules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documented import ROOT, Walk


def test_the_page_of_git_as_the_switch_is_walked(
    kfp_server, penstock, project_file, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp_server.host)
    project_file(
        deployment={"router": "kserve"},
        monitoring={"state": "s3://bucket/monitor", "every": "30m"},
        scoring={"source": {"uri": "s3://bucket/today"}, "destination": "s3://bucket/scores"},
    ).rename("project.yaml")
    page = (ROOT / "docs/gitops.md").read_text()
    (declared,) = re.findall(r"^```text\n(schedules:.*?)^```$", page, re.M | re.S)

    with Walk("docs/gitops.md", tmp_path) as walk:
        written = penstock(*walk.words("penstock init --ci"))
        assert written.code == 0, written.err
        assert len(list((tmp_path / ".github/workflows").glob("*.yml"))) == 3
        assert (tmp_path / "schedules.yaml").is_file()
        (tmp_path / "schedules.yaml").write_text(declared)

        checked = penstock(*walk.words("penstock schedule sync --check"))
        assert checked.code == 0, checked.err
        assert kfp_server.requests == []
        planned = penstock(*walk.words("penstock schedule sync --dry-run"))
        assert planned.code == 0, planned.err
        assert kfp_server.recurring == {}
        synced = penstock(*walk.words("penstock schedule sync"))
        assert synced.out.endswith("3 created.\n"), synced.err

        owned = penstock(*walk.words("penstock init --backstage"))
        assert owned.code == 0, owned.err
        assert "owner: team-risk" in (tmp_path / "catalog-info.yaml").read_text()
