"""`penstock init --ci`: every block of shell in what it writes is run, in order."""

from __future__ import annotations

import http.server
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import workflow_files as workflows
import yaml
from running_process import served
from workflow_files import BIN, Block, Runner

from penstock.pipelines.cli import parser

ROOT = Path(__file__).parents[2]
PROJECT = {
    "version": 1,
    "name": "wine",
    "target": "quality",
    "source": {"uri": "s3://bucket/wine.csv"},
    "tracking_uri": "http://mlflow:5000",
    "training": {"trials": 1, "folds": 2, "candidates": ["linear"]},
    "gate": {"baseline": {"margin": 0.0}, "approval": {"people": 2}},
    "notify": {"file": "told.jsonl"},
}
SYSTEMS: dict[str, Callable[[Path], list[Block]]] = {
    "github": workflows.github,
    "gitlab": workflows.gitlab,
    "jenkins": workflows.jenkins,
}


def sample(rows: int = 600) -> str:
    lines = ["acid,sugar,quality"]
    for n in range(rows):
        acid, sugar = n * 37 % 101, n * 53 % 89
        lines.append(f"{acid}.{n},{sugar},{'good' if acid + n * 7 % 20 > sugar else 'bad'}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """A repository of somebody who predicts the quality of wine, the project in a folder of it."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "wine.yaml").write_text(yaml.safe_dump(PROJECT))
    (tmp_path / "models" / "sample.csv").write_text(sample())
    yield tmp_path
    if (tmp_path / "models" / ".penstock").is_dir():
        # What a failed test left serving.
        stop = [BIN / "penstock", "stop", tmp_path / "models" / "wine.yaml"]
        subprocess.run(stop, check=True, capture_output=True)


@pytest.fixture
def init(penstock, repository, monkeypatch) -> Callable[..., object]:
    monkeypatch.chdir(repository)
    return lambda *arguments: penstock("init", "-o", "models/wine.yaml", *arguments)


class Comments(http.server.BaseHTTPRequestHandler):
    """Takes comments as the APIs of GitHub and GitLab do."""

    taken: list[tuple[str, str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers["Content-Type"] == "application/json":
            text = json.loads(body)["body"]
        else:
            (text,) = parse_qs(body)["body"]
        token = self.headers["PRIVATE-TOKEN"] or self.headers["Authorization"]
        self.taken.append((self.path, token, text))
        self.send_response(201)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def comments() -> Iterator[http.server.ThreadingHTTPServer]:
    Comments.taken = []
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Comments)) as server:
        yield server


@pytest.fixture
def runner(repository, kfp_server, comments, tmp_path_factory) -> Runner:
    beside = tmp_path_factory.mktemp("runner")
    (beside / "env").touch()
    kfp_server.tokens = {"of-staging"}
    (beside / "token").write_text("of-staging")
    api = f"http://127.0.0.1:{comments.server_address[1]}"
    store = f"sqlite:///{repository}/models/.penstock/mlflow.db"
    settings = {
        "RUNNER_TEMP": str(beside),
        "GITHUB_ENV": str(beside / "env"),
        "GITHUB_STEP_SUMMARY": str(beside / "summary.md"),
        "GITHUB_API_URL": api,
        "GITHUB_REPOSITORY": "jo/wines",
        "CI_API_V4_URL": api,
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "12",
        "CHANGE_ID": "12",
        "CHANGE_URL": "https://github.example/jo/wines/pull/12",
        "COMMENT_TOKEN": "may-comment",
        "KF_PIPELINES_ENDPOINT": kfp_server.host,
        "KUBEFLOW_NAMESPACE": "",
        "MLFLOW_TRACKING_URI": store,
    }
    expressions = {
        "${{ vars.KF_PIPELINES_ENDPOINT }}": kfp_server.host,
        "${{ vars.KUBEFLOW_NAMESPACE }}": "",
        "${{ vars.MLFLOW_TRACKING_URI }}": store,
        "${{ secrets.MLFLOW_TRACKING_USERNAME }}": "",
        "${{ secrets.MLFLOW_TRACKING_PASSWORD }}": "",
        "${{ secrets.KUBEFLOW_TOKEN }}": "of-staging",
        "${{ secrets.KUBECONFIG }}": "",
        "${{ github.event_name == 'release' && 'production' || 'staging' }}": "staging",
        "${{ github.sha }}": "0123abc",
        "${{ github.token }}": "may-comment",
        "${{ github.event.pull_request.number }}": "12",
        "$CI_COMMIT_SHA": "0123abc",
        "${env.GIT_COMMIT}": "0123abc",
        "${env.STAGING_KUBEFLOW}": kfp_server.host,
        "${env.PRODUCTION_KUBEFLOW}": kfp_server.host,
        "${env.STAGING_MLFLOW}": store,
        "${env.PRODUCTION_MLFLOW}": store,
        "${MLFLOW_TRACKING_USR}": "",
        "${MLFLOW_TRACKING_PSW}": "",
    }
    return Runner(repository, settings, expressions)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_command_in_it_is_one_that_this_version_takes(system, init) -> None:
    """Quickly; the next test runs them."""
    done = init("--ci", system)
    seen = set()
    for path in re.findall(r"^Wrote (.+)\.$", done.out, re.M)[:-1]:
        for block in SYSTEMS[system](Path(path)):
            for line in block.text.replace("\\\n", "").splitlines():
                if line.strip().startswith("penstock "):
                    words = shlex.split(line.partition(" > ")[0])
                    parser().parse_args(words[1:])
                    seen.add(words[1])
    assert seen == {"schedule", "run", "stop", "compile", "submit", "verify", "passport", "monitor"}


@pytest.mark.long
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_block_is_run_in_order(
    system, init, runner, repository, kfp_server, penstock
) -> None:
    done = init("--ci", system)
    assert done.code == 0, done.err
    schedules = repository / "models" / "schedules.yaml"
    schedules.write_text("schedules: {retrain: {every: 7d}}\n")
    written = re.findall(r"^Wrote (.+)\.$", done.out, re.M)
    assert written.pop() == str(schedules)
    blocks = [block for path in written for block in SYSTEMS[system](Path(path))]
    if system != "github":
        # There a file of this kind is a variable that people set.
        runner.settings["KF_PIPELINES_SA_TOKEN_PATH"] = (
            str(runner.settings["RUNNER_TEMP"]) + "/token"
        )
    store = runner.settings["MLFLOW_TRACKING_URI"]
    for block in blocks:
        sampled = block.does("penstock run")
        # Where the CI system knows a registry for all jobs, a sample must not be registered there.
        runner.settings["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:1" if sampled else store
        ended = runner.run(block)
        # Of a service that was stopped a look sees nothing, and says so.
        expected = 6 if block.does("penstock monitor") else 0
        assert ended.returncode == expected, f"{block.text}\n{ended.stdout}"

    (comment,) = Comments.taken
    path, token, text = comment
    assert "jo/wines/issues/12/" in path or "/projects/7/merge_requests/12/notes" in path
    assert token.removeprefix("Bearer ") == "may-comment"
    assert text.startswith("### Penstock: RELEASED\n")
    assert re.search(r"^\| pass \| block \| baseline ", text, re.M), text
    names = {run["display_name"] for run in kfp_server.runs.values()}
    assert names == {"wine staging 0123abc"} | (
        {"wine production 0123abc"} if system != "github" else set()
    )
    (schedule,) = kfp_server.recurring.values()
    assert schedule["description"] == "Kept by penstock schedule sync: wine/retrain"
    evidence = repository / "evidence"
    assert json.loads((evidence / "summary.json").read_text())["outcome"] == "released"
    assert json.loads((evidence / "verified.json").read_text())
    assert (evidence / "passport" / "passport.json").is_file()
    assert (evidence / "release.yaml").read_text() == (repository / "release.yaml").read_text()
    assert "Nothing was being served" in penstock("stop", "models/wine.yaml").out


@pytest.mark.long
def test_a_run_that_ends_before_the_gate_is_a_comment_too(init, runner, repository) -> None:
    assert init("--ci", "github").code == 0
    (repository / "models" / "sample.csv").write_text("acid,quality\n1,good\n2,bad\n")
    (repository / "gate.md").write_text("### Penstock: RELEASED\n")
    (file,) = (repository / ".github" / "workflows").glob("*-pull-request.yml")
    blocks = workflows.github(file)
    (sampled,) = [block for block in blocks if block.does("penstock run")]
    ended = runner.run(sampled)
    assert ended.returncode == 1, ended.stdout
    for block in blocks[blocks.index(sampled) + 1 :]:
        assert runner.run(block).returncode == 0
    (comment,) = Comments.taken
    assert "before the gate" in comment[2] or "### Penstock: FAILED" in comment[2]
    assert "RELEASED" not in comment[2]


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_written_is_well_formed_and_asks_nothing_back(system, init, repository) -> None:
    done = init("--ci", system)
    texts = {
        Path(path): Path(path).read_text() for path in re.findall(r"^Wrote (.+)\.$", done.out, re.M)
    }
    assert len(texts) == (4 if system == "github" else 2)
    for path, text in texts.items():
        assert not re.search(r"@[A-Z]+@|@@", text), path
        if path.suffix in (".yml", ".yaml"):
            yaml.safe_load(text)
    again = init("--ci", system)
    assert again.code == 0, "the same again"
    (first, *_) = texts
    first.write_text("theirs\n")
    kept = init("--ci", system)
    assert (kept.code, "says something else" in kept.err) == (1, True)
    assert first.read_text() == "theirs\n"
    assert init("--ci", system, "--force").code == 0
    assert first.read_text() == texts[first]


@pytest.mark.parametrize(
    ("system", "schema"), [("github", "github-workflows"), ("gitlab", "gitlab-ci")]
)
def test_what_is_written_fits_the_published_schema(system, schema, init, repository) -> None:
    done = init("--ci", system)
    files = [
        path for path in re.findall(r"^Wrote (.+)\.$", done.out, re.M) if path.endswith(".yml")
    ]
    command = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
    if system == "gitlab":
        command += ["--data-transform", "gitlab-ci"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    Path(files[0]).write_text(
        Path(files[0]).read_text().replace("script:", "scripts:").replace("steps:", "step:")
    )
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_the_blocks_are_shell_that_any_system_reads() -> None:
    blocks = sorted((ROOT / "pipelines/ci/templates/blocks").glob("*.sh"))
    assert len(blocks) >= 10
    done = subprocess.run(
        [BIN / "shellcheck", "--shell=sh", *blocks], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_actions_are_those_of_our_own_workflows(init, repository) -> None:
    """By their full versions: those that CI runs, which is all that was verified of them."""
    ours = "\n".join(path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml"))
    known = set(re.findall(r"uses: (\S+)@[0-9a-f]{40} # (v\d+\.\d+\.\d+)$", ours, re.M))
    assert init("--ci", "github").code == 0
    texts = "\n".join(
        path.read_text() for path in (repository / ".github" / "workflows").glob("*.yml")
    )
    used = re.findall(r"uses: (\S+)@(\S+)$", texts, re.M)
    assert len(used) >= 6
    assert set(used) <= known


def test_a_sample_that_is_not_there_is_asked_for(init, repository) -> None:
    (repository / "models" / "sample.csv").unlink()
    done = init("--ci", "github")
    assert "Put some hundred rows into" in done.out
    assert "sample.csv" in done.out


def test_backstage_knows_the_project_and_its_owner(init, repository) -> None:
    """By the rules of its descriptor format; its own validators are JavaScript."""
    assert init("--backstage", "group:default/team-risk").code == 0
    entry = yaml.safe_load((repository / "catalog-info.yaml").read_text())
    assert (entry["apiVersion"], entry["kind"]) == ("backstage.io/v1alpha1", "Component")
    assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", entry["metadata"]["name"])
    assert all(
        re.fullmatch(r"[a-z0-9+#]+(-[a-z0-9+#]+)*", tag) for tag in entry["metadata"]["tags"]
    )
    assert entry["metadata"]["description"] == "A model that predicts quality, released by Penstock"
    assert entry["spec"] == {
        "type": "model",
        "lifecycle": "experimental",
        "owner": "group:default/team-risk",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "no table is named"),
        (("--ci", "github", "-o", "absent.yaml"), 1, "absent.yaml"),
        (("--backstage", "no body"), 2, "'no body' is not an owner"),
        (("models/sample.csv",), 2, "which column to predict"),
    ],
)
def test_wrong_usage_is_a_sentence(init, arguments, code, words) -> None:
    done = init(*arguments)
    assert (done.code, words in done.err) == (code, True), done.err


def test_a_path_that_a_shell_would_read_otherwise_is_refused(penstock, repository) -> None:
    odd = repository / "my models; true"
    odd.mkdir()
    (odd / "project.yaml").write_text(yaml.safe_dump(PROJECT))
    done = penstock("init", "-o", odd / "project.yaml", "--ci", "gitlab")
    assert (done.code, "characters that a workflow must not hold" in done.err) == (1, True)
    assert not (repository / ".gitlab-ci.yml").exists()
