"""The pipeline that scores as Kubeflow runs it: compiled, by kfp.local."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.data.spec import SourceSpec
from penstock.errors import InputError
from penstock.pipelines.compile import compile_score
from penstock.project import Project
from penstock.records.scores import FILE_NAME, Scores
from penstock.scoring.score import Order, score
from penstock.scoring.spec import ScoringSpec

ROW = {"age": 30, "hours per-week": 41.5, "member": True, "job": "pilot", "since": "2026-01-01"}
_RUN = """
import json, sys
from kfp import components, local
local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out", raise_on_error=False)
components.load_component_from_file("score.yaml")(**json.loads(sys.argv[1]))
"""


def project(**scoring: Any) -> Project:
    given = {
        "name": "adult",
        "target": "target",
        "source": {"uri": "s3://b/adult.csv"},
        "tracking_uri": "http://127.0.0.1:9",
        "scoring": scoring,
    }
    return Project.parse(given, where="a test")


WHOLE: dict[str, Any] = {
    "source": {"uri": "postgresql://me:${secret:shop/password}@db/shop", "query": "select 1"},
    "destination": "pvc://scores/adult",
    "keep": ["id"],
    "on_error": "quarantine",
}


def test_what_is_compiled_has_the_section_its_secrets_and_its_claims(tmp_path: Path) -> None:
    compile_score(project(**WHOLE), output=tmp_path / "score.yaml")
    spec, platform = yaml.safe_load_all((tmp_path / "score.yaml").read_text())
    defaults = spec["root"]["inputDefinitions"]["parameters"]["scoring"]["defaultValue"]
    assert defaults == WHOLE
    (task,) = spec["root"]["dag"]["tasks"]
    assert task == "score"
    executor = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-score"]
    assert "shop" in json.dumps(executor["secretAsEnv"])
    assert executor["pvcMount"][0]["mountPath"] == "/mnt/penstock/scores"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"source": None}, "says no source"),
        ({"destination": ""}, "says no destination"),
        ({"destination": "scores"}, "of this machine"),
        ({"source": {"uri": "rows.csv"}}, "of this machine"),
        ({"destination": "sqlite:///scores.db"}, "of this machine"),
        ({"destination": "postgresql://h/d", "partition_by": ["id"]}, "has no folders"),
    ],
)
def test_what_no_pod_could_score_is_refused(
    changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=what):
        compile_score(project(**WHOLE | changes), output=tmp_path / "score.yaml")
    assert not (tmp_path / "score.yaml").exists()


def test_a_version_may_be_a_number_as_yaml_has_it() -> None:
    assert ScoringSpec.parse(yaml.safe_load("version: 3"), where="scoring").version == "3"


def test_a_file_is_no_destination(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for out in ("out", "out/below"):
        order = Order(
            model="models:/adult@champion",
            data=SourceSpec(uri="rows.csv"),
            out=str(tmp_path / out),
            tracking_uri="http://127.0.0.1:9",
        )
        with pytest.raises(InputError, match="out is a file, and not a folder"):
            score(order)


@pytest.mark.slow
def test_a_run_scores_into_a_place_of_its_own(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    compile_score(project(**WHOLE), output=tmp_path / "score.yaml")
    lines = [{"id": "a"} | ROW, {"id": "b"} | ROW | {"age": "old"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = {
        "scoring": {
            "source": {"uri": str(tmp_path / "rows.jsonl")},
            "destination": str(tmp_path / "scores"),
            "partition_by": ["prediction"],
            "on_error": "quarantine",
        },
        "tracking_uri": registered().store,
    }
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(given)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    made = list((tmp_path / "scores").glob(f"*/{FILE_NAME}"))
    assert len(made) == 1, done.stdout + done.stderr
    scores = Scores.read(made[0])
    assert (scores.rows, scores.scored, scores.refused_rows) == (2, 1, 1)
    assert scores.run == made[0].parent.name
    (file,) = scores.parts[0].files
    assert file.file.startswith("rows/prediction=")
    (artifact,) = (tmp_path / "out").rglob("scores")
    assert Scores.read(artifact) == scores
