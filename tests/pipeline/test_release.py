"""The release pipeline as a stranger runs it: every branch both ways, by the command line."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from compiled_pipeline import without_retries

from penstock.gate.evaluation import Evaluation
from penstock.records.dataset import Split
from penstock.records.quality import Validation
from penstock.records.release import Deployment
from penstock.records.rollout import Rollout
from penstock.registry.baseline import load_baseline
from penstock.registry.versions import registered

# One worker for all: the tests share what a run left.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("release")]

QUICK = {"trials": 2, "folds": 2, "candidates": ["linear", "hist_gradient_boosting"]}

GATE = {"champion": {"margin": 0.99}, "classes": {"margin": 0.99}}
"""Two dozen frauds are held out: a finer margin cannot be told from nothing."""

CANARY = {
    "interval": 0.5,
    "shadow": {"min_pairs": 200},
    "steps": [{"weight": 40, "min_samples": 150}],
    # The machine that runs the tests is busy with others of them.
    "rules": {"latency_ratio": 10**6},
    "traffic": {"rate": 100},
}


def prepare(shell, folder: str, *, rows: int = 6_000, **changes: object) -> Path:
    """Make the example, quick and on a free port, and return its project file."""
    made = shell("example", folder, "--rows", str(rows))
    assert made.returncode == 0, made.stderr
    assert "SIMULATED" in made.stdout
    path = shell.folder / folder / "project.yaml"
    project = yaml.safe_load(path.read_text())
    project |= {"training": QUICK, "deployment": {"port": 0}, "gate": GATE} | changes
    path.write_text(yaml.safe_dump(project))
    return path


def last_run(project: Path) -> Path:
    return sorted((project.parent / ".penstock" / "runs").iterdir())[-1]


def tasks_that_ran(project: Path) -> set[str]:
    log = (last_run(project) / "kfp.log").read_text()
    return set(re.findall(r"Executing task '([^']+)'", log))


def summary_of(project: Path) -> dict:
    return json.loads((last_run(project) / "summary.json").read_text())


def steps_of(project: Path) -> dict[str, str]:
    """How each step of the last run came about."""
    return {step["step"]: step["how"] for step in summary_of(project)["steps"]}


def registered_versions(project: Path) -> list:
    from mlflow import MlflowClient

    uri = f"sqlite:///{project.parent / '.penstock' / 'mlflow.db'}"
    return list(MlflowClient(tracking_uri=uri, registry_uri=uri).search_model_versions())


def record(project: Path, kind: type, task: str, name: str):
    return kind.read(next((last_run(project) / "kfp").glob(f"*/{task}/{name}")))


def serving(project: Path) -> list[Path]:
    return list((project.parent / ".penstock").glob("serving/*/state.json"))


@pytest.fixture(scope="module")
def released(shell) -> tuple[Path, str]:
    project = prepare(shell, "good", notify={"file": "outcomes.jsonl"})
    done = shell("run", str(project))
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done.stdout


def test_the_summary_names_everything(released: tuple[Path, str]) -> None:
    project, text = released
    assert "RELEASED  Approved" in text
    summary = summary_of(project)
    assert summary["data_version"] in text
    assert "models:/simulated-transactions/1" in text
    assert re.search(r"pass +block +baseline: ", text)
    assert re.search(r"n/a +block +champion: There is no champion yet", text)
    assert "mlflow ui --backend-store-uri sqlite:///" in text
    steps = [line.split()[1] for line in text.splitlines() if line.startswith("ok ")]
    assert steps[:5] == ["Ingest", "Validate", "Split", "Engineer", "Train"]
    # Neither of these waits for the other.
    assert set(steps[5:7]) == {"Evaluate", "Probe"}
    assert steps[7:] == ["Decide", "Explain", "Register", "Approve", "Deploy"]


def test_the_curl_line_works_when_pasted(released: tuple[Path, str]) -> None:
    line = re.search(r"curl -s .*", released[1])
    assert line is not None
    answer = subprocess.run(
        ["/bin/sh", "-c", line[0]], capture_output=True, text=True, check=True, timeout=30
    )
    body = json.loads(answer.stdout)
    assert len(body["predictions"]) == 1
    assert body["model_version"] == "1"


def test_every_report_is_whole_and_needs_no_network(released: tuple[Path, str]) -> None:
    reports = summary_of(released[0])["reports"]
    assert set(reports) == {
        "validation", "features", "training", "evaluation", "decision", "explanation", "rollout",
        "card",
    }  # fmt: skip
    for path in reports.values():
        html = Path(path).read_text()
        assert html.rstrip().endswith("</html>")
        assert not re.search(r"(?:src|href)=[\"']?https?:|url\((?![#])", html)


def test_one_page_leads_to_every_report_and_back(released: tuple[Path, str]) -> None:
    project, text = released
    index = project.parent / ".penstock" / "index.html"
    assert re.search(r"Pages +good/.penstock/index.html", text)
    html = index.read_text()
    for said in ("Version 1 serves all requests at http://127.0.0.1:", "serves 100 %", "approved"):
        assert said in html
    linked = {index.parent / link for link in links(index)}
    assert {Path(path) for path in summary_of(project)["reports"].values()} <= linked
    for report in map(Path, summary_of(project)["reports"].values()):
        around = {(report.parent / link).resolve() for link in links(report)}
        assert index in around
        assert all(path.is_file() for path in around)
        # Kubeflow shows the output itself, where no page is beside it.
    assert all(path.is_file() for path in linked)
    for output in (last_run(project) / "kfp").glob("*/*/report"):
        assert links(output) == []


def links(page: Path) -> list[str]:
    return re.findall(r'href="([^"#]+)"', page.read_text())


def test_a_release_asks_for_no_name_of_another_machine(released, shell) -> None:
    # It did look up something, and that was written down.
    assert "127.0.0.1\t" in shell.recorded.read_text()
    assert shell.outside() == set()


def test_the_raw_log_and_the_notice_are_there(released: tuple[Path, str]) -> None:
    project, _ = released
    assert "Executing task 'ingest'" in (last_run(project) / "kfp.log").read_text()
    outcome = json.loads((project.parent / "outcomes.jsonl").read_text().splitlines()[-1])
    assert outcome["state"] == "released"
    assert "released. Approved" in outcome["text"]


def test_the_champion_is_the_released_version(released: tuple[Path, str]) -> None:
    versions = registered_versions(released[0])
    assert len(versions) == 1
    from mlflow import MlflowClient

    uri = f"sqlite:///{released[0].parent / '.penstock' / 'mlflow.db'}"
    champion = MlflowClient(tracking_uri=uri, registry_uri=uri).get_model_version_by_alias(
        "simulated-transactions", "champion"
    )
    assert int(champion.version) == 1


def test_the_version_carries_the_baseline_of_its_holdout(released: tuple[Path, str]) -> None:
    uri = f"sqlite:///{released[0].parent / '.penstock' / 'mlflow.db'}"
    version = registered("models:/simulated-transactions/1", tracking_uri=uri)
    found = load_baseline(version, tracking_uri=uri)
    evaluation = record(released[0], Evaluation, "evaluate", "evaluation")
    assert found.notes == ()
    assert found.baseline is not None
    assert found.baseline.digest() == evaluation.baseline
    assert (found.baseline.model, found.baseline.rows) == (version.model, evaluation.rows)
    assert found.attributions[0].attribution > 0


@pytest.mark.long
@pytest.mark.parametrize("warm", [True, False])
def test_the_compiled_yaml_runs_with_the_same_outcome(
    released: tuple[Path, str], shell, warm: bool
) -> None:
    project, _ = released
    before = record(project, Evaluation, "evaluate", "evaluation")
    first_data = summary_of(project)["data_version"]
    # A home of its own: a first release, too, by kfp.local.
    other = shell.folder / ("warm" if warm else "plain") / "project.yaml"
    other.parent.mkdir()
    other.write_text(project.read_text())
    compiled = shell("compile", str(project), "-o", str(other.with_name("release.yaml")))
    assert compiled.returncode == 0, compiled.stderr
    text = other.with_name("release.yaml").read_text()
    assert "pip install" not in text
    assert ":latest" not in text
    for place in (str(shell.folder), str(Path(__file__).parents[2]), str(Path.home())):
        assert place not in text

    ours = next((last_run(project) / "kfp").iterdir())
    run_yaml(
        other.with_name("release.yaml"),
        project=other,
        overrides={"uri": str(project.parent / "simulated-transactions.csv")},
        warm=warm,
    )
    theirs = next((other.parent / "yaml-run").iterdir())
    assert (
        json.loads((theirs / "ingest/dataset/_dataset.json").read_text())["content"] == first_data
    )
    after = Evaluation.read(theirs / "evaluate" / "evaluation")
    assert {s.name: s.metrics for s in after.scores} == {s.name: s.metrics for s in before.scores}
    assert len(registered_versions(other)) == 1
    assert_same_outputs(ours, theirs)


def assert_same_outputs(ours: Path, theirs: Path) -> None:
    """Every step wrote the same files, and in them the same but for ids, times and places."""
    assert written(ours) == written(theirs)
    for name in sorted(written(ours)):
        if name.endswith(("train/report", "deploy/report")):
            continue  # how long each setting and each move took
        one, other = (masked(run, name) for run in (ours, theirs))
        assert one == other, name


def written(run: Path) -> set[str]:
    names = (str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    return {name for name in names if "/capture" not in name}


def masked(run: Path, name: str) -> str:
    raw = (run / name).read_bytes()
    if raw.startswith((b"PAR1", b"\x93NUMPY", b"PK")):
        return hashlib.sha256(raw).hexdigest()
    text = raw.decode().replace(str(run), "RUN")
    if text.startswith("{"):
        # kfp hands objects on in any order.
        text = json.dumps(json.loads(text), sort_keys=True)
    for pattern in MASKED:
        text = re.sub(pattern, "-", text)
    return text


MASKED = (
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{12,}",
    r"\d{4}-\d\d-\d\d[T ]\d\d[:-]\d\d[:-]\d\d(\.\d+)?(Z|\+00:00)?",
    r"127\.0\.0\.1:\d+",
    r'"(time|seconds|start|began|ended|expires|pipeline_run)": [^\n,}]*',
)
"""What is another in every run: ids and digests of them, times, ports."""


def run_yaml(compiled: Path, *, project: Path, overrides: dict, warm: bool = False) -> None:
    """Run a compiled pipeline by kfp.local in a process of its own, as another program would.

    `warm` starts its steps as `penstock run` does, and in a third of the time.
    """
    started = "WarmSteps(log=Path('imports.log')) as steps, started_by(LocalSteps(steps))"
    code = f"""
import os
os.environ["PENSTOCK_HOME"] = {str(project.parent / ".penstock")!r}
os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///" + os.environ["PENSTOCK_HOME"] + "/mlflow.db"
os.chdir({str(project.parent)!r})
from kfp import components, local
root = {str(compiled.parent / "yaml-run")!r}
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=root)
from contextlib import nullcontext
from pathlib import Path
from penstock.pipelines.local_runner import LocalSteps, started_by
from penstock.pipelines.warm import WarmSteps
with {started if warm else "nullcontext()"}:
    components.load_component_from_file({str(compiled)!r})(**{overrides!r})
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=400
    )
    (compiled.parent / "yaml-run.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])


def test_the_kubernetes_manifest_is_two_resources(released: tuple[Path, str], shell) -> None:
    done = shell("compile", str(released[0]), "-o", "k8s.yaml", "--kubernetes-manifest")
    assert done.returncode == 0, done.stderr
    kinds = [doc["kind"] for doc in yaml.safe_load_all((shell.folder / "k8s.yaml").read_text())]
    assert kinds == ["Pipeline", "PipelineVersion"]


@pytest.mark.long
class TestRefusedByTheGate:
    """Labels without meaning: the gate says no, and no way around it registers anything."""

    @pytest.fixture(scope="class")
    def refused(self, tmp_path_factory: pytest.TempPathFactory, shell) -> tuple[Path, str]:
        project = prepare(shell, "clean")
        folder = tmp_path_factory.mktemp("shuffled")
        inner = type(shell)(folder)
        table = project.parent / "simulated-transactions.csv"
        import pandas as pd

        frame = pd.read_csv(table)
        frame["fraud"] = frame["fraud"].sample(frac=1, random_state=1).to_numpy()
        frame.to_csv(folder / "simulated-transactions.csv", index=False)
        copied = folder / "project.yaml"
        copied.write_text(project.read_text())
        done = inner("run", "project.yaml")
        assert done.returncode == 3, done.stdout + done.stderr
        return copied, done.stdout

    def test_the_reason_is_said(self, refused: tuple[Path, str]) -> None:
        project, text = refused
        assert re.search(r"^REFUSED  \d+ rules? passed, .* failed: baseline \(block\)", text, re.M)
        assert re.search(r"^REFUSED BY THE GATE ", text, re.M)
        assert "On average_precision the candidate's advantage over" in text
        assert "FAILED" not in text
        assert "does not lie above" in Path(summary_of(project)["reports"]["decision"]).read_text()

    def test_nothing_is_registered_or_served(self, refused: tuple[Path, str]) -> None:
        project, text = refused
        assert registered_versions(project) == []
        assert serving(project) == []
        assert "curl" not in text
        assert tasks_that_ran(project) >= {"decide", "gate-refused"}
        assert not tasks_that_ran(project) & {"register", "deploy"}

    def test_its_refusal_is_judged_again_by_its_own_policy_and_by_another(
        self, refused: tuple[Path, str], shell
    ) -> None:
        project, _ = refused
        inner = type(shell)(project.parent)
        done = inner("gate", "--policy", "project.yaml", "--against-history")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^run \S+: refused -> refused$", done.stdout, re.M)
        assert "Judged by its own policy again, 1 of 1 are the same" in done.stdout
        policy = "baseline: {margin: -0.9}\nclasses: null\nwithout_quality: accepted\n"
        (project.parent / "weak.yaml").write_text(policy)
        done = inner("gate", "--policy", "weak.yaml", "--against-history")
        assert done.returncode == 3, done.stdout + done.stderr
        assert re.search(r"baseline: fail \(block\) -> pass \(block\)\.", done.stdout)

    def test_forcing_the_flag_registers_nothing(self, refused: tuple[Path, str], shell) -> None:
        project, _ = refused
        inner = type(shell)(project.parent)
        assert inner("compile", "project.yaml", "-o", "release.yaml").returncode == 0
        text = (project.parent / "release.yaml").read_text()
        forced, swapped = re.subn(
            r"(decide-Output''\] == )(true|false)",
            lambda found: found[1] + {"true": "false", "false": "true"}[found[2]],
            text,
        )
        assert swapped == 2
        (project.parent / "forced.yaml").write_text(without_retries(forced))
        with pytest.raises(RuntimeError):
            run_yaml(project.parent / "forced.yaml", project=project, overrides={}, warm=True)
        log = (project.parent / "yaml-run.log").read_text()
        assert "Executing task" in log
        assert re.search(r"NotApprovedError: the decision refuses this model", log)
        assert registered_versions(project) == []
        assert serving(project) == []


def test_refused_data_stop_before_the_split(tmp_path: Path, shell) -> None:
    expectation = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "amount", "max_value": 5},
    }
    project = prepare(shell, "dear", rows=2_000, expectations=[expectation])
    done = shell("run", str(project))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "REFUSED  The data were refused." in done.stdout
    assert "amount" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert tasks_that_ran(project) & {"validate", "split"} == {"validate"}
    assert Path(summary_of(project)["reports"]["validation"]).exists()


CHEAP = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "amount", "max_value": 150},
}
UNREACHED = {"floors": [{"metric": "roc_auc", "at_least": 1.0}]}


@pytest.mark.long
def test_the_rest_goes_on_where_few_rows_are_quarantined(shell) -> None:
    project = prepare(
        shell, "quarantined", rows=3_000, expectations=[CHEAP], gate=UNREACHED,
        validation={"on_fail": "quarantine"}, engine={"name": "dask", "workers": 2},
    )  # fmt: skip
    done = shell("run", str(project))
    assert done.returncode == 3, done.stdout + done.stderr
    assert {"validate", "split", "train", "decide"} <= tasks_that_ran(project)
    validation = record(project, Validation, "validate", "results")
    apart = validation.quarantine
    assert apart is not None
    assert 0 < apart.rows <= 150
    split = record(project, Split, "split", "proof")
    assert split.parent == apart.kept
    assert sum(split.counts().values()) == 3_000 - apart.rows
    assert apart.sentence() in done.stdout
    assert summary_of(project)["data_version"] == apart.kept
    assert summary_of(project)["quarantine"]["rows"] == apart.rows


@pytest.mark.long
def test_more_than_the_share_stops_before_the_split(shell) -> None:
    project = prepare(
        shell, "beyond", rows=3_000, expectations=[CHEAP],
        validation={"on_fail": "quarantine", "quarantine": {"max_share": 0.001}},
        engine={"workers": 2},
    )  # fmt: skip
    done = shell("run", str(project))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "at most 0.1 % may be quarantined" in done.stdout
    assert tasks_that_ran(project) & {"validate", "split"} == {"validate"}


def test_a_step_that_fails_is_named_and_notified(shell) -> None:
    project = prepare(shell, "gone", rows=2_000, notify={"file": "failures.jsonl"})
    (project.parent / "simulated-transactions.csv").unlink()
    done = shell("run", str(project))
    assert done.returncode == 1
    assert re.search(r"FAILED +Ingest .*simulated-transactions.csv", done.stdout)
    assert "FAILED  Ingest failed: " in done.stdout
    (line,) = (project.parent / "failures.jsonl").read_text().splitlines()
    outcome = json.loads(line)
    assert outcome["state"] == "failed"
    assert "not released, the run failed. Ingest failed: " in outcome["text"]


@pytest.mark.long
def test_a_lost_notice_changes_nothing(shell) -> None:
    project = prepare(shell, "deaf", rows=2_000, notify={"webhook": "http://127.0.0.1:9/hook"})
    (project.parent / "simulated-transactions.csv").unlink()
    done = shell("run", str(project))
    assert done.returncode == 1
    assert "FAILED  Ingest failed: " in done.stdout
    assert "webhook at 127.0.0.1:9 did not accept it" in done.stdout


INPUTS = {"validate", "split", "engineer_features", "train"}
"""Steps before the gate that read nothing but what earlier steps wrote."""


def reused(project: Path) -> set[str]:
    return {step for step, how in steps_of(project).items() if how == "reused"}


def test_a_first_run_reuses_nothing(released: tuple[Path, str]) -> None:
    project, text = released
    assert "reused" not in text
    assert set(steps_of(project).values()) == {"warm"}


def test_a_run_under_another_gate_begins_at_evaluate(released: tuple[Path, str], shell) -> None:
    project, _ = released
    before = record(project, Evaluation, "evaluate", "evaluation")
    strict = {"floors": [{"metric": "average_precision", "at_least": 0.999}]}
    change(project, gate=GATE | strict)
    first = last_run(project).name
    done = shell("run", str(project))
    assert done.returncode == 3, done.stdout + done.stderr
    assert re.search(r"FAIL +block +floor average_precision: ", done.stdout)
    assert re.search(rf"ok +Train .*\(reused from run {first}\)", done.stdout)
    assert "Reused        validate, split, engineer features, train (run" in done.stdout
    assert reused(project) == INPUTS
    # The champion is another than that of the run before: there was none.
    after = record(project, Evaluation, "evaluate", "evaluation")
    assert (before.champion, after.champion) == ("", "models:/simulated-transactions/1")
    assert after.model == before.model
    change(project, gate=GATE)


@pytest.mark.long
def test_the_same_gate_again_decides_nothing_again(released: tuple[Path, str], shell) -> None:
    project, _ = released
    change(project, gate=GATE | {"floors": [{"metric": "average_precision", "at_least": 0.998}]})
    for known in (INPUTS, INPUTS | {"decide"}):
        assert shell("run", str(project)).returncode == 3
        assert reused(project) == known
    change(project, gate=GATE)


def change(project: Path, **changes: object) -> None:
    path = project
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_a_second_run_with_another_candidate_goes_through_the_canary(
    released: tuple[Path, str], shell
) -> None:
    project, _ = released
    change(
        project,
        training=QUICK | {"trials": 4, "seed": 5},
        deployment={"port": 0, "canary": CANARY},
    )
    before = len(registered_versions(project))
    done = shell("run", str(project))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(registered_versions(project)) == before + 1
    assert reused(project) == INPUTS - {"train"}
    rollout = record(project, Rollout, "deploy", "rollout")
    assert rollout.outcome == "promoted"
    assert [t.phase for t in rollout.transitions] == [
        "deploy", "shadow", "step", "promote", "done",
    ]  # fmt: skip
    assert "rolled-back" not in tasks_that_ran(project)
    assert f"version {rollout.candidate}" in shell("status", str(project)).stdout


def test_a_bad_candidate_is_rolled_back_and_the_report_says_why(
    released: tuple[Path, str], shell
) -> None:
    project, _ = released
    champion = record(project, Deployment, "deploy", "deployment").version
    done = shell("run", str(project), "--demo", "bad-candidate")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "ROLLED BACK" in done.stdout
    assert {"register", "deploy", "rolled-back"} <= tasks_that_ran(project)
    assert not {"ingest", "evaluate", "register", "approve", "deploy"} & reused(project)
    summary = summary_of(project)
    assert (summary["outcome"], summary["rollout"]) == ("rolled_back", "rolled_back")
    assert summary["served"] is None
    rollout = record(project, Rollout, "deploy", "rollout")
    assert (rollout.stable, rollout.fault) == (champion, "errors")
    report = Path(summary["reports"]["rollout"]).read_text()
    assert "fault injection" in report.lower()
    assert f"version {champion}: 100 %" in shell("status", str(project)).stdout


def test_rollback_goes_to_the_champion_before(released: tuple[Path, str], shell) -> None:
    project, _ = released
    done = shell("rollback", str(project))
    assert done.returncode == 0, done.stderr
    assert "is the champion" in done.stdout
    nobody = shell("rollout", "resume", str(project))
    assert nobody.returncode == 1
    assert "no rollout is under way" in nobody.stderr


def test_stop_ends_what_serves(released: tuple[Path, str], shell) -> None:
    project, _ = released
    done = shell("stop", str(project))
    assert done.returncode == 0
    assert "Stopped simulated-transactions" in done.stdout
    assert shell("stop", str(project)).stdout == "Nothing was being served.\n"
