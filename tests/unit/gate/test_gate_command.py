"""`penstock gate` alone, as CI runs it: what it is given, what it says, what it ends with."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.data.table import read_dataset, read_table
from penstock.evaluation.evaluate import evaluate
from penstock.evaluation.spec import EvaluationSpec
from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.pipelines.cli import main
from penstock.records.decision import Decision
from penstock.records.model import Model
from penstock.registry.champion import set_champion
from penstock.registry.register import register
from penstock.serving.probe import probe

SOFT = "champion:\n  margin: 0.02\nfloors:\n- metric: roc_auc\n  at_least: 0.8\n"

Gate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str], gate_world: Any) -> Gate:
    """`gate(policy, model=…, …)` runs the command; returns its exit code and what it printed."""

    def run(policy: str = SOFT, /, **options: Any) -> tuple[int, str, str]:
        (tmp_path / "policy.yaml").write_text(policy)
        given = {
            "policy": tmp_path / "policy.yaml",
            "model": gate_world.good,
            "data": gate_world.holdout,
            "champion": "none",
            "json": tmp_path / "decision.json",
            "html": tmp_path / "decision.html",
        } | options
        arguments = ["gate"]
        for name, value in given.items():
            if value is not None:
                arguments += [f"--{name.replace('_', '-')}", str(value)]
        capsys.readouterr()
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def registered(gate_world: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The store, with the good model as version 1 and champion, the bad one as version 2."""
    home = tmp_path_factory.mktemp("registered")
    for name in ("good", "bad"):
        policy = Policy.parse(
            {
                "baseline": {"margin": -0.9},
                "without_quality": "accepted",
                "classes": None,
                "leakage": None,
                "training_data": None,
                "slices": None,
            },
            where="test",
        )
        judged = evaluate(
            gate_world.holdout,
            model=gate_world.home / f"{name}-model",
            baselines=gate_world.baselines,
            policy=policy,
            spec=EvaluationSpec(resamples=100),
            output=home / f"{name}.json",
            report=None,
        )
        register(
            gate_world.home / f"{name}-model",
            decision=decide(judged.evaluation, policy=policy),
            evaluation=judged.evaluation,
            name="loans",
            tracking_uri=gate_world.store,
        )
    set_champion("loans", 1, tracking_uri=gate_world.store)
    return str(gate_world.store)


def test_a_good_model_is_approved_with_0(gate: Gate, gate_world: Any, tmp_path: Path) -> None:
    code, out, err = gate(baselines=gate_world.baselines)
    assert code == 0, out + err
    assert "pass  block  baseline: " in out
    assert "pass  block  floor roc_auc: " in out
    assert "n/a   block  champion: " in out
    assert out.splitlines()[-1].startswith("Approved: ")
    assert re.search(
        r"^At the threshold 0\.\d+: recall \d+% and precision \d+% of repaid = yes \(", out, re.M
    )
    assert re.search(r"^Other thresholds for repaid = yes: 0\.\d+ \(recall ", out, re.M)
    decision = Decision.read(tmp_path / "decision.json")
    assert decision.approved
    assert decision.dataset == read_dataset(gate_world.holdout).content
    page = (tmp_path / "decision.html").read_text()
    assert "Approved" in page


def test_a_bad_model_is_refused_with_3(gate: Gate, gate_world: Any, tmp_path: Path) -> None:
    code, out, _ = gate(model=gate_world.bad, baselines=gate_world.baselines)
    assert code == 3
    assert "FAIL  block  floor roc_auc: " in out
    assert re.match(r"Refused: .* failed: .*floor roc_auc \(block\)", out.splitlines()[-1])
    # What decided comes first.
    first = next(line for line in out.splitlines() if line.startswith(("pass", "FAIL", "n/a")))
    assert first.startswith("FAIL  block  ")
    assert not Decision.read(tmp_path / "decision.json").approved


def test_it_decides_as_the_steps_of_a_pipeline_do(
    gate: Gate, gate_world: Any, tmp_path: Path
) -> None:
    code, *_ = gate(baselines=gate_world.baselines, evaluation=tmp_path / "measured")
    assert code == 0
    policy = Policy.parse(
        {"champion": {"margin": 0.02}, "floors": [{"metric": "roc_auc", "at_least": 0.8}]},
        where="test",
    )
    judged = evaluate(
        gate_world.holdout,
        model=gate_world.good,
        baselines=gate_world.baselines,
        policy=policy,
        spec=EvaluationSpec(),
        output=tmp_path / "e.json",
        report=None,
    )
    operations = probe(
        gate_world.good, holdout=gate_world.holdout, policy=policy, output=tmp_path / "o.json"
    )
    expected = decide(judged.evaluation, policy=policy, operations=operations)
    assert Decision.read(tmp_path / "decision.json").digest() == expected.digest()
    assert Evaluation.read(tmp_path / "measured/evaluation.json") == judged.evaluation
    assert (tmp_path / "measured/evaluation.html").is_file()


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_table_of_the_same_rows_is_the_same_holdout(
    gate: Gate, gate_world: Any, tmp_path: Path, kind: str
) -> None:
    table = read_table(gate_world.holdout)
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, path)
    else:
        import pyarrow.csv as pc

        pc.write_csv(table, path)
    code, out, err = gate(data=path, baselines=gate_world.baselines)
    assert code == 0, out + err
    decision = Decision.read(tmp_path / "decision.json")
    assert decision.dataset == read_dataset(gate_world.holdout).content


def test_types_are_those_of_the_training_rows(gate: Gate, gate_world: Any, tmp_path: Path) -> None:
    """Whole numbers alone look like integers; the model was trained on numbers."""
    frame = read_table(gate_world.holdout).to_pandas()
    frame["income"] = frame["income"].round()
    frame["debt"] = frame["debt"].round()
    with_point, without = tmp_path / "a.parquet", tmp_path / "b.csv"
    frame.to_parquet(with_point)
    frame.astype({"income": int, "debt": int}).to_csv(without, index=False)
    digests = []
    for path in (with_point, without):
        code, out, err = gate(data=path, baselines=gate_world.baselines)
        assert code in (0, 3), out + err
        digests.append(Decision.read(tmp_path / "decision.json").dataset)
    assert digests[0] == digests[1]


def test_a_registered_version_is_compared_with_the_champion_of_its_name(
    gate: Gate, gate_world: Any, registered: str, tmp_path: Path
) -> None:
    code, out, _ = gate(
        "floors: []\n",
        model="models:/loans/2",
        champion=None,
        tracking_uri=registered,
        baselines=gate_world.baselines,
    )
    assert code == 3
    assert "FAIL  block  champion: " in out
    decision = Decision.read(tmp_path / "decision.json")
    assert decision.champion == "models:/loans/1"
    assert "models:/loans/1" in (tmp_path / "decision.html").read_text()


def test_a_champion_is_named_by_its_number(
    gate: Gate, gate_world: Any, registered: str, tmp_path: Path
) -> None:
    code, *_ = gate(
        champion="models:/loans@champion",
        tracking_uri=registered,
        baselines=gate_world.baselines,
    )
    assert code == 0
    assert Decision.read(tmp_path / "decision.json").champion == "models:/loans/1"


def test_the_trivial_baseline_is_made_again_from_the_models_own_record(
    gate: Gate, gate_world: Any, tmp_path: Path
) -> None:
    given, _, _ = gate(baselines=gate_world.baselines, evaluation=tmp_path / "given")
    code, out, err = gate(evaluation=tmp_path / "made")
    assert (given, code) == (0, 0), out + err
    one = Evaluation.read(tmp_path / "given/evaluation.json")
    other = Evaluation.read(tmp_path / "made/evaluation.json")
    first, second = one.scores_of("majority"), other.scores_of("majority")
    assert first is not None
    assert second is not None
    assert first.metrics == second.metrics
    assert other.scores_of("linear") is None
    assert "FAIL  warn   linear: " in out


def test_a_model_that_does_not_tell_its_training_rows_cannot_pass_the_baseline(
    gate: Gate, gate_world: Any, tmp_path: Path
) -> None:
    silent = tmp_path / "model"
    shutil.copytree(gate_world.good, silent)
    (silent / "dataset.json").unlink()
    record = Model.read(silent / "penstock.json")
    record.model_copy(update={"class_rows": ()}).write(silent / "penstock.json")
    code, out, err = gate(model=silent)
    assert code == 3
    assert "FAIL  block  baseline: The evaluation does not measure" in out
    assert "give --baselines" in err


def test_a_project_file_gives_its_own_policy_and_name(
    gate: Gate, gate_world: Any, tmp_path: Path
) -> None:
    project = (
        "name: loans\ntarget: repaid\nsource: {uri: loans.csv}\nevaluation: {resamples: 150}\n"
        "gate: {floors: [{metric: roc_auc, at_least: 0.999}]}\n"
    )
    code, out, _ = gate(project, baselines=gate_world.baselines, evaluation=tmp_path / "measured")
    assert code == 3
    assert "FAIL  block  floor roc_auc" in out
    assert "Gate: loans" in (tmp_path / "decision.html").read_text()
    assert Evaluation.read(tmp_path / "measured/evaluation.json").resamples == 150


@pytest.mark.parametrize(
    ("policy", "options", "words"),
    [
        ("florrs: []\n", {}, "florrs.*Known fields here"),
        ("floors: []\nfloors: []\n", {}, "given twice"),
        ("name: x\ntarget: y\nsource: {uri: z.csv}\ngaet: {}\n", {}, "gaet"),
        ("- a\n", {}, "mapping of fields"),
        (SOFT, {"policy": "absent.yaml"}, r"absent\.yaml: .* Correct the path; docs/write-your"),
        (SOFT, {"model": "absent"}, "no folder 'absent'"),
        (SOFT, {"data": "absent.csv"}, "no file 'absent.csv'"),
        (SOFT, {"baselines": "absent"}, "no folder 'absent'"),
        (SOFT, {"champion": None}, "--champion none"),
    ],
)
def test_what_cannot_be_used_ends_with_2(
    gate: Gate, tmp_path: Path, policy: str, options: dict[str, Any], words: str
) -> None:
    import re

    code, _, err = gate(policy, **options)
    assert code == 2, err
    assert re.search(words, err)
    assert not (tmp_path / "decision.json").exists()


def test_what_fails_on_the_way_ends_with_1_and_leaves_nothing(
    gate: Gate, gate_world: Any, tmp_path: Path
) -> None:
    code, _, err = gate(data=gate_world.home / "good-train")
    assert code == 1
    assert "not the holdout" in err
    code, _, err = gate(model="models:/nobody/1", tracking_uri=gate_world.store)
    assert code == 1
    assert "models:/nobody/1" in err
    altered = tmp_path / "altered"
    shutil.copytree(gate_world.good, altered)
    record = json.loads((altered / "penstock.json").read_text())
    record["columns"][0]["name"] = "salary"
    (altered / "penstock.json").write_text(json.dumps(record))
    assert gate(model=altered)[0] == 1
    assert not (tmp_path / "decision.json").exists()
    assert not (tmp_path / "decision.html").exists()
