"""The engine: work on parts in this process, in others, and on Dask; and workers that die."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from engine_work import Killed, array, process, refused, squares, starved
from engines import ENGINES
from engines import engines as engines

from penstock.data.engine import EngineSpec, opened
from penstock.data.table import write_dataset
from penstock.errors import InputError, ServiceError
from penstock.quality.check import validate
from penstock.quality.spec import Contract, Expectation

SEVERAL = ["processes", "dask"]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_each_part_is_worked_on_once(engines, name: str, count: int) -> None:
    found = [pair for share in engines[name](squares, list(range(count))) for pair in share]
    assert sorted(found) == squares(range(count))


@pytest.mark.parametrize("name", SEVERAL)
def test_the_work_is_done_in_other_processes(engines, name: str) -> None:
    assert os.getpid() not in set(engines[name](process, list(range(40))))


@pytest.mark.parametrize("name", SEVERAL)
def test_results_that_were_handed_on_are_not_kept(engines, name: str) -> None:
    results = engines[name](array, list(range(40)))
    handed_on = [weakref.ref(next(results)) for _ in range(8)]
    assert sum(one() is not None for one in handed_on) <= 2


@pytest.mark.parametrize("name", ENGINES)
def test_what_the_work_raises_is_raised(engines, name: str) -> None:
    with pytest.raises(InputError, match=r"part \d+: a part is torn\. Ingest again\."):
        list(engines[name](refused, list(range(8))))
    assert len(list(engines[name](squares, [1]))) == 1


@pytest.mark.parametrize("name", SEVERAL)
def test_a_worker_without_memory_is_a_sentence(engines, name: str) -> None:
    with pytest.raises(ServiceError, match="a worker ran out of memory"):
        list(engines[name](starved, [1]))
    assert len(list(engines[name](squares, [1]))) == 1


@pytest.mark.parametrize("name", SEVERAL)
def test_a_worker_that_is_killed_changes_nothing(engines, name: str, tmp_path: Path) -> None:
    marker = tmp_path / "killed"
    shares = list(engines[name](Killed(squares, marker), list(range(40))))
    assert marker.exists()
    assert sorted(pair for share in shares for pair in share) == squares(range(40))


@pytest.mark.parametrize("name", ["processes", pytest.param("dask", marks=pytest.mark.long)])
def test_workers_that_die_again_and_again_are_an_error(engines, name: str) -> None:
    with pytest.raises(ServiceError, match="a worker died 3 times at the same part"):
        list(engines[name](Killed(squares, None), [1]))
    assert len(list(engines[name](squares, [1]))) == 1


HIDDEN = """
import importlib.machinery as machinery

find = machinery.PathFinder.find_spec
machinery.PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name in ("dask", "distributed") else find(name, path, target)
)
from penstock.data.engine import EngineSpec, opened

with opened(EngineSpec(name="dask")):
    pass
"""


UNGUARDED = """
import os, sys

sys.path.insert(0, sys.argv[1])
from engine_work import squares
from penstock.data.engine import EngineSpec, opened

print("started")
with opened(EngineSpec(name=sys.argv[2], workers=2)) as each:
    print(sum(len(share) for share in each(squares, list(range(40)))), flush=True)
"""


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("local", "standard input"),
        pytest.param("dask", "script", marks=pytest.mark.long),
        pytest.param("local", "script", marks=pytest.mark.long),
        pytest.param("dask", "standard input", marks=pytest.mark.long),
    ],
)
def test_a_script_without_a_guard_is_not_begun_again(tmp_path: Path, name: str, way: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    place = str(script) if way == "script" else "-"
    done = subprocess.run(
        [sys.executable, place, str(Path(__file__).parents[1]), name],
        input=UNGUARDED, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["started", "40"], done.stderr


WAITING = """
import sys, time

sys.path.insert(0, sys.argv[1])
from engine_work import process
from penstock.data.engine import EngineSpec, opened

with opened(EngineSpec(name=sys.argv[2], workers=2)) as each:
    print(*each(process, list(range(40))), flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("name", ["local", pytest.param("dask", marks=pytest.mark.long)])
def test_workers_end_with_a_step_that_is_killed(name: str) -> None:
    step = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(Path(__file__).parents[1]), name],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with step:
        assert step.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in set(step.stdout.readline().split())]
        step.kill()
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=30)
    for one in alive:
        one.kill()
    assert not alive


def test_dask_listens_on_loopback_alone(engines) -> None:
    pids = {os.getpid(), *engines["dask"](process, list(range(40)))}
    listening = {
        one.laddr.ip
        for pid in pids
        for one in psutil.Process(pid).connections(kind="tcp")
        if one.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_a_validation_is_the_same_to_the_byte(engines, tmp_path: Path) -> None:
    """Here, where Dask runs already; what else a validation finds is in `tests/unit/quality`."""
    rows = [pa.table({"age": [at % 90 for at in range(start, start + 50)]}) for start in (0, 50)]
    write_dataset(rows, output=tmp_path / "data", source="a test")
    suite = [
        Expectation(
            type="expect_column_values_to_be_between",
            kwargs={"column": "age", "min_value": 0, "max_value": 80},
        )
    ]
    for name in ENGINES:
        validate(
            tmp_path / "data", contract=Contract(), expectations=suite,
            results=tmp_path / f"{name}.json", report=tmp_path / "page.html", each=engines[name],
        )  # fmt: skip
    found = {(tmp_path / f"{name}.json").read_bytes() for name in ENGINES}
    assert len(found) == 1
    assert b"100" in found.pop()


def test_dask_that_is_not_installed_names_its_extra(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert "pip install 'penstock[dask]'" in done.stderr.splitlines()[-1]


def test_a_cluster_that_cannot_start_is_a_sentence(monkeypatch) -> None:
    import distributed

    def fails(*_, **__):
        raise OSError(24, "Too many open files")

    # A machine that has no more files to open cannot be had here.
    monkeypatch.setattr(distributed, "LocalCluster", fails)
    with (
        pytest.raises(ServiceError, match=r"the Dask cluster cannot be started: .*Too many open"),
        opened(EngineSpec(name="dask", workers=2)),
    ):
        pass
