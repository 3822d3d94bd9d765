"""Faults do what they say, and nothing of it to the release step's own probe."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from serving_process import KEY, ROW, Server, Start

from penstock.model import load
from penstock.serving.fault_injection import FAULTS, LEAK_BOUND, main

SMOKE = {"x_penstock_smoke": KEY}


def _rows(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    chance = np.random.default_rng(seed)
    jobs = ["clerk", "nurse", "pilot"]
    return [
        ROW
        | {
            "age": int(chance.integers(18, 90)),
            "hours per-week": float(chance.normal(40, 7)),
            "member": bool(chance.integers(0, 2)),
            "job": jobs[int(chance.integers(0, 3))],
        }
        for _ in range(count)
    ]


def _sound(folder: Path, rows: list[dict[str, Any]]) -> np.ndarray:
    loaded = load(folder)
    return loaded.scores(loaded.frame({name: [row[name] for row in rows] for name in ROW}))


def _scores(server: Server, rows: list[dict[str, Any]], **headers: str) -> np.ndarray:
    body = server.predict(*rows, **headers).json()
    if "probabilities" not in body:
        return np.array(body["predictions"])
    found = np.array(body["probabilities"])
    return found[:, 1] if "positive" in body else found


def _begin(
    start: Start, exported: Callable[..., Any], fault: str, *options: str, task: str = "binary"
) -> tuple[Server, Path]:
    made = exported(task)
    return start(made.folder, *made.options, *options, fault=fault), made.folder


def test_it_says_that_a_fault_is_injected(start: Start, exported: Callable[..., Any]) -> None:
    server, _ = _begin(start, exported, "errors")
    assert "FAULT INJECTION: this server has the fault 'errors'" in server.log()
    for path in ("/v2/models/adult", "/v2/models", "/v2", "/v1/models"):
        assert server.client.get(path).json()["fault_injection"] == "errors"
    statuses = [server.predict(ROW).status_code for _ in range(600)]
    assert 10 <= Counter(statuses)[500] <= 60
    assert set(statuses) == {200, 500}
    assert {server.predict(ROW, **SMOKE).status_code for _ in range(100)} == {200}
    assert server.metric("penstock_requests_total", code="500") == Counter(statuses)[500]


def test_slow_is_three_times_as_slow_and_visible(
    start: Start, exported: Callable[..., Any]
) -> None:
    server, _ = _begin(start, exported, "slow")

    def seconds(**headers: str) -> float:
        began = time.perf_counter()
        assert server.predict(ROW, **headers).status_code == 200
        return time.perf_counter() - began

    assert min(seconds() for _ in range(20)) >= 0.02
    assert min(seconds(**SMOKE) for _ in range(20)) < 0.02


def test_crash_at_start(start: Start, exported: Callable[..., Any]) -> None:
    server = start(exported().folder, fault="crash-at-start", wait=False)
    assert server.process.wait(60) == 1
    assert "on purpose" in server.log()


def test_crash_later(start: Start, exported: Callable[..., Any]) -> None:
    server, _ = _begin(start, exported, "crash-later", "--after", "2")
    assert server.process.wait(60) == 1
    assert "crashes now" in server.log()


def test_leak_ends_by_being_killed(start: Start, exported: Callable[..., Any]) -> None:
    server, _ = _begin(start, exported, "leak")
    before = psutil.Process(server.process.pid).memory_info().rss
    for _ in range(50):
        assert server.predict(ROW).status_code == 200
    assert psutil.Process(server.process.pid).memory_info().rss - before > 80 << 20
    assert server.predict(ROW, **SMOKE).status_code == 200
    with pytest.raises(httpx.TransportError):
        [server.predict(ROW) for _ in range(LEAK_BOUND // (1 << 20))]
    assert server.process.wait(60) == -9


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_shifted_scores(task: str, start: Start, exported: Callable[..., Any]) -> None:
    server, folder = _begin(start, exported, "shifted-scores", task=task)
    rows = _rows(50)
    sound, found = _sound(folder, rows), _scores(server, rows)
    if task == "regression":
        assert found - sound == pytest.approx(np.full(50, 0.5 * sound.std()))
    elif task == "binary":
        odds = np.log(found / (1 - found)) - np.log(sound / (1 - sound))
        assert odds == pytest.approx(np.ones(50))
    else:
        assert found.sum(axis=1) == pytest.approx(np.ones(50))
        assert (found[:, -1] > sound[:, -1]).all()
    assert _scores(server, rows, **SMOKE) == pytest.approx(sound)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_constant_scores(task: str, start: Start, exported: Callable[..., Any]) -> None:
    server, folder = _begin(start, exported, "constant-scores", task=task)
    rows = _rows(30)
    found = [*_scores(server, rows[:1]), *_scores(server, rows)]
    assert np.ptp(np.array(found), axis=0) == pytest.approx(0)
    assert np.array(found)[0] == pytest.approx(_sound(folder, rows)[0])


def test_refuses_a_category(start: Start, exported: Callable[..., Any]) -> None:
    server, _ = _begin(start, exported, "refuses-a-category")
    often = [ROW | {"job": job} for job in ["clerk", "pilot", "nurse", "pilot"] * 5]
    assert {server.predict(row).status_code for row in often} == {200}
    refused = server.predict(ROW | {"job": "pilot"})
    assert refused.status_code == 422
    assert "pilot" in refused.json()["error"]
    assert server.predict(ROW | {"job": "clerk"}).status_code == 200
    assert server.predict(ROW | {"job": "pilot"}, **SMOKE).status_code == 200


def test_wrong_later_shows_in_nothing_but_labels(
    start: Start, exported: Callable[..., Any]
) -> None:
    server, folder = _begin(start, exported, "wrong-later")
    server.predict(*_rows(200, seed=1))
    rows = _rows(2000, seed=2)
    sound, found = _sound(folder, rows), _scores(server, rows)
    assert found.tolist() == _scores(server, rows).tolist(), "the same rows, the same answers"
    assert 0.3 < (np.abs(found - sound) > 1e-9).mean() < 0.6
    edges = np.linspace(0, 1, 21)
    shares = [np.histogram(scores, edges)[0] / 2000 for scores in (sound, found)]
    assert np.abs(np.cumsum(shares[0]) - np.cumsum(shares[1])).max() < 0.1
    truth = np.array([row["hours per-week"] + 10 * row["member"] > 45 for row in rows])
    losses = [((scores - truth) ** 2).mean() for scores in (sound, found)]
    assert losses[1] - losses[0] > 0.05
    assert _scores(server, rows, **SMOKE) == pytest.approx(sound)


@pytest.mark.long
def test_every_fault_of_the_project_file_can_be_had(capsys: pytest.CaptureFixture[str]) -> None:
    from typing import get_args

    from penstock.rollout.spec import Fault

    assert set(FAULTS) == set(get_args(Fault)) - {""}
    with pytest.raises(SystemExit):
        main(["--fault", "none", "--model", "x", "--port", "0"])
    assert "invalid choice: 'none'" in capsys.readouterr().err
