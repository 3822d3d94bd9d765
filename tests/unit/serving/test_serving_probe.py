"""A candidate in the real server: measured, compared, judged, and nothing left running."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from running_process import listens, until

from penstock import model as models_module
from penstock.errors import IntegrityError, ServiceError
from penstock.gate.policy import Policy
from penstock.gate.rule import Case
from penstock.gate.rules.serving import RULE
from penstock.model import digest_of, load
from penstock.records.decision import RuleResult
from penstock.records.operations import Operations
from penstock.serving import probe as probing
from penstock.serving import temporary_server
from penstock.serving.probe import probe

Build = Callable[..., Path]


def asked(**rule: Any) -> Policy:
    return Policy.parse({"operations": {"requests": 100, **rule}}, where="gate")


def judged(record: Operations | None, **rule: Any) -> dict[str, RuleResult]:
    # The rule looks at the operations alone.
    case = Case(evaluation=None, policy=asked(**rule), operations=record)
    settings = RULE.of(case.policy)
    return {found.rule: found for found in RULE.judge(settings, case)}


def servers() -> list[int]:
    """Ids of the servers that this process has started and that still run."""
    return [
        child.pid
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
        and "penstock.processes.watchdog" in child.cmdline()
    ]


@pytest.fixture(
    scope="module",
    params=["binary", pytest.param("multiclass", marks=pytest.mark.long), "regression"],
)
def measured(
    request: pytest.FixtureRequest,
    models: Build,
    holdout: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Operations:
    folder = tmp_path_factory.mktemp("probe")
    return probe(
        models(request.param),
        holdout=holdout,
        policy=asked(),
        output=folder / "operations.json",
    )


def _holdout(folder: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow as pa

    from penstock.data.table import write_dataset

    typed = [row | {"since": datetime.fromisoformat(row["since"])} for row in rows]
    write_dataset([pa.Table.from_pylist(typed)], output=folder, source="a test")
    return folder


@pytest.fixture(scope="module")
def holdout(instances: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _holdout(tmp_path_factory.mktemp("rows") / "holdout", instances)


def test_a_server_answers_as_the_model_does_and_is_measured(measured: Operations) -> None:
    assert measured.asked
    assert measured.rows == 20
    assert measured.requests == 100
    assert measured.differences == 0
    assert measured.largest < 1e-9
    assert measured.p50 is not None
    assert measured.p99 is not None
    assert 0 < measured.p50 <= measured.p99 < 60
    assert measured.size is not None
    assert measured.size > 500
    assert measured.start is not None
    assert 0 < measured.start < 120
    assert measured.runtime in ("onnx", "sklearn")
    assert (measured.runtime == "onnx") == (not measured.notes)
    assert "CPUs" in measured.place
    assert socket.gethostname() not in measured.dumps()
    assert servers() == []


def test_each_part_passes_and_blocks(measured: Operations) -> None:
    wide = judged(measured, p99_at_most=60, size_at_most=10**9)
    assert {name: found.verdict for name, found in wide.items()} == {
        "operations: latency": "pass",
        "operations: size": "pass",
        "operations: agreement": "pass",
    }
    assert "CPUs" in wide["operations: latency"].sentence
    narrow = judged(measured, p99_at_most=1e-6, size_at_most=100)
    assert narrow["operations: latency"].verdict == "fail"
    assert narrow["operations: size"].verdict == "fail"
    assert narrow["operations: size"].severity == "block"
    more = judged(measured, p99_at_most=60, requests=1000)["operations: latency"]
    assert more.verdict == "fail"
    assert "Only 100 single rows" in more.sentence


def test_an_answer_that_differs_is_found_and_blocks(
    models: Build,
    exported: Callable[..., Any],
    holdout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The server is whole: so that it differs, it is held against another model's own answers.
    other, made = load(models("binary", 3)), exported()

    def copied(model: Path, folder: Path, **_: Any) -> tuple[str, tuple[str, ...]]:
        shutil.copytree(made.folder, folder)
        return made.digest, ()

    monkeypatch.setattr(models_module, "load", lambda *_, **__: other)
    monkeypatch.setattr(probing, "_prepare", copied)
    record = probe(
        models("binary"),
        holdout=holdout,
        policy=asked(),
        output=tmp_path / "operations.json",
    )
    assert 0 < record.differences <= record.rows
    assert record.largest > 1e-6
    rule = judged(record)["operations: agreement"]
    assert (rule.verdict, rule.severity) == ("fail", "block")
    assert "instead of" in rule.sentence
    assert "row " in rule.sentence


def test_without_a_rule_nothing_is_started(
    models: Build, holdout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    record = probe(
        models("binary"),
        holdout=holdout,
        policy=Policy(),
        output=tmp_path / "operations.json",
    )
    assert not record.asked
    assert Operations.read(tmp_path / "operations.json") == record
    assert RULE.settings(Policy()) == ()


@pytest.mark.parametrize("record", [None, Operations(model="m", dataset="d", asked=False)])
def test_what_was_not_measured_does_not_pass(record: Operations | None) -> None:
    found = judged(record, p99_at_most=60)
    assert {rule.verdict for rule in found.values()} == {"fail"}


def test_a_record_without_figures_does_not_pass() -> None:
    empty = Operations(model="m", dataset="d", asked=True, requests=100)
    found = judged(empty, p99_at_most=60, size_at_most=10**9)
    assert len(found) == 3
    assert {rule.verdict for rule in found.values()} == {"fail"}


def test_the_server_ends_when_asking_fails(
    models: Build, holdout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def fail(*_: Any, **__: Any) -> None:
        seen.extend(servers())
        raise RuntimeError("as if interrupted")

    monkeypatch.setattr(probing, "_ask", fail)
    with pytest.raises(RuntimeError, match="as if interrupted"):
        probe(
            models("binary"),
            holdout=holdout,
            policy=asked(),
            output=tmp_path / "operations.json",
        )
    assert len(seen) == 1
    assert servers() == []
    assert not (tmp_path / "operations.json").exists()


def test_the_server_ends_when_the_probe_is_killed(models: Build, tmp_path: Path) -> None:
    folder = models("binary")
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from penstock.serving.temporary_server import temporary_server as up\n"
        f"arguments = ['--model', {str(folder)!r}, '--digest', {digest_of(folder)!r}]\n"
        f"with up(arguments, scratch=Path({str(tmp_path)!r}), timeout=120) as server:\n"
        "    print(server.port, flush=True)\n    time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout is not None
        port = int(starter.stdout.readline())
        assert listens(port)
    finally:
        os.kill(starter.pid, signal.SIGKILL)
        starter.wait()
    until(lambda: not listens(port), seconds=60, what="it outlives the one that started it")


def test_a_server_that_does_not_start_is_said_with_its_log(models: Build, tmp_path: Path) -> None:
    arguments = ["--model", str(models("binary")), "--digest", "sha256:" + "0" * 64]
    with (
        pytest.raises(ServiceError, match=r"ended before it was ready\. Its log ends: .*digest"),
        temporary_server.temporary_server(arguments, scratch=tmp_path, timeout=120),
    ):
        raise AssertionError("it started")


def test_operations_of_another_model_are_refused() -> None:
    from penstock.gate.decision import decide
    from penstock.gate.evaluation import Evaluation
    from penstock.records.evaluation import Scores

    measured = Evaluation(
        task="binary",
        metric="roc_auc",
        higher_is_better={},
        dataset="d",
        model="sha256:a",
        rows=1,
        confidence=0.95,
        resamples=1,
        seed=1,
        policy=asked().digest(),
        scores=(Scores(name="candidate", description="", model="sha256:a", metrics={}),),
        comparisons=(),
    )
    with pytest.raises(IntegrityError, match="measured with model sha256:b"):
        decide(
            measured,
            policy=asked(),
            operations=Operations(model="sha256:b", dataset="d", asked=True),
        )
