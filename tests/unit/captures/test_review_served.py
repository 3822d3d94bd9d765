"""docs/human-review.md on a real service: a doubtful row waits, is decided, and is a label."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from documented import ROOT, Walk
from rollout_world import World, world_in
from running_process import until

from penstock.captures.reader import read_labels
from penstock.pipelines import cli

pytestmark = pytest.mark.long
REQUEST = "a-doubtful-one"


@pytest.fixture
def world(
    tmp_path: Path, models: Callable[..., Path], instances: list[dict[str, Any]]
) -> Iterator[World]:
    """The model of these tests with the band of the page, and room for few captured rows."""

    def with_band(depth: int = 2) -> Path:
        folder = tmp_path / f"band-{depth}"
        if not folder.exists():
            shutil.copytree(models(depth=depth), folder)
            record = folder / "penstock.json"
            band = {"abstention": {"low": 0.05, "high": 0.75}}
            record.write_text(json.dumps(json.loads(record.read_text()) | band))
        return folder

    home = tmp_path / ".penstock"
    home.mkdir()
    with world_in(home, models=with_band, instances=instances) as made:
        yield made


def project(folder: Path) -> None:
    """Write the project file, with the section that the page has."""
    page = (ROOT / "docs/human-review.md").read_text()
    (gate,) = re.findall(r"^```yaml\n(gate:.*?)^```$", page, re.M | re.S)
    (folder / "project.yaml").write_text(
        f"name: adult\ntarget: target\nsource: {{uri: none.csv}}\n{gate}"
    )


def ask(url: str, rows: list[dict[str, Any]], request: str) -> list[bool]:
    """Return which rows the model leaves to people."""
    answered = httpx.post(
        f"{url}/v1/models/adult:predict",
        json={"instances": rows},
        headers={"x-request-id": request},
        trust_env=False,
        timeout=60,
        verify=False,
    )
    assert answered.status_code == 200, answered.text
    left: list[bool] = answered.json()["abstained"]
    return left


def test_a_doubtful_row_waits_is_decided_and_is_a_label(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    project(tmp_path)
    assert world.release(2, spec={"captures": {"megabytes": 4}}).outcome == "promoted"
    url, captured = world.deployed(2).url, tmp_path / ".penstock/serving/adult/captures"
    left = ask(url, world.rows, "every")
    doubtful = world.rows[left.index(True)]
    ask(url, [doubtful], REQUEST)

    def waiting() -> list[dict[str, Any]]:
        capsys.readouterr()
        assert cli.main(["review", "list", "--json", "--limit", "1000"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    until(lambda: len(waiting()) == sum(left) + 1)
    with Walk("docs/human-review.md", tmp_path) as walk:
        assert cli.main(walk.words("penstock review list")) == 0
        assert REQUEST in capsys.readouterr().out
        answer = walk.words("penstock review answer", ("REQUEST", REQUEST))
    assert cli.main(answer) == 0
    assert f"Row 0 of {REQUEST} is 'yes'." in capsys.readouterr().out
    until(lambda: len(waiting()) == sum(left))
    known, _ = read_labels(captured, after=None)
    assert [(one["request_id"], one["label"]) for one in known.to_pylist()] == [(REQUEST, "yes")]
    assert cli.main(answer) == 1, "a row is answered once"
    assert "has its label already" in capsys.readouterr().err

    # However much is asked, what waits stays within the bounds of captures, and says what is gone.
    for number in range(20):
        ask(url, [doubtful] * 2_000, f"load-{number}")

    def gone() -> bool:
        capsys.readouterr()
        assert cli.main(["review", "list", "--limit", "1"]) == 0
        return "captured rows are gone" in capsys.readouterr().out

    until(gone, seconds=60)
    kept = sum(path.stat().st_size for path in captured.rglob("*") if path.is_file())
    assert kept < 2 * 4 * 2**20 + 2**20, "rows and labels, each, and what is in hand"
    assert len(waiting()) < 20 * 2_000
