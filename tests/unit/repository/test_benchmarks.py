"""Benchmarks say whether they reach their targets, by exit code and on the generated page.

What they measure takes minutes; here are the ends that they share.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "benchmarks"
FILES = sorted([*FOLDER.glob("bench_*.py"), FOLDER / "soak.py"])

BENCHMARK = """
import sys
from pathlib import Path
from targets import Target, report
values = [float(value) for value in sys.argv[2:]]
targets = [Target("CPU | beside GX", value, 1.5) for value in values]
figures = {
    "cpu_ratio": values[0],
    "programs": {"penstock": {"cpu_seconds": 1.25, "runs": 3}, "gx": {"cpu_seconds": 2000.4}},
    "10 rows": {"deep": {"a": {"b": None}}},
    "raw": {"left": {"out": 1}},
}
path = Path(sys.argv[1])
sys.exit(report("split", question="How fast?", figures=figures, targets=targets, path=path))
"""


def run(*arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(["-c", code] if code else []), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(FOLDER)},
        capture_output=True,
        text=True,
    )


def page(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(FOLDER / "page.py", "--folder", folder, "--output", folder / "page.md")


@pytest.mark.parametrize(
    ("values", "code", "said"),
    [
        ((1.5,), 0, "met     CPU | beside GX: 1.5 x (at most 1.5 x)"),
        ((1.5000001,), 1, "MISSED  CPU | beside GX: 1.5000001 x (at most 1.5 x)"),
        ((8.26e-06,), 0, "met     CPU | beside GX: 8.26e-06 x"),
        ((float("nan"),), 1, "MISSED"),
        ((2.0, 1.0), 1, "MISSED"),
    ],
)
def test_a_missed_target_ends_with_1(
    values: tuple[float, ...], code: int, said: str, tmp_path: Path
) -> None:
    done = run(tmp_path / "bench-split.json", *values, code=BENCHMARK)

    assert done.returncode == code, done.stderr
    assert said in done.stdout
    written = json.loads((tmp_path / "bench-split.json").read_text())
    assert [target["met"] for target in written["targets"]] == [value <= 1.5 for value in values]


def test_a_benchmark_without_a_target_is_refused(tmp_path: Path) -> None:
    code = BENCHMARK.replace("targets=targets", "targets=[]")

    done = run(tmp_path / "bench-split.json", 1.0, code=code)

    assert done.returncode == 1
    assert "The benchmark split has no target" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_benchmark_reports_and_ends_with_its_code(path: Path) -> None:
    tree = ast.parse(path.read_text())
    beside = [
        FOLDER / f"{name}.py" for name in re.findall(r"^from (\w+) import", path.read_text(), re.M)
    ]
    calls = [
        node
        for one in (path, *(module for module in beside if module.exists()))
        for node in ast.walk(ast.parse(one.read_text()))
        if isinstance(node, ast.Call) and re.search(r"\breport$", ast.unparse(node.func))
    ]

    names = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    assert names == [path.stem.removeprefix("bench_")]
    ending = ast.unparse(tree.body[-1])
    assert re.search(r"sys\.exit\(main\(\)\)|raise SystemExit\(main\(\)\)", ending)


def test_every_benchmark_has_a_target_of_make_and_a_line_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    done = page(tmp_path / "empty")

    assert done.returncode == 0, done.stdout
    text = (tmp_path / "empty" / "page.md").read_text()
    names = {path.stem.removeprefix("bench_") for path in FILES}
    assert set(re.findall(r"^\| ([a-z]+) \(`make ", text, flags=re.M)) == names


def test_the_page_says_what_was_measured_when_and_what_was_missed(tmp_path: Path) -> None:
    path = tmp_path / "bench-split.json"
    run(path, 1.5000001, 1.0, code=BENCHMARK)
    older = json.loads(path.read_text()) | {"name": "gate", "date": "2026-01-31", "busy": 0.4}
    older["figures"]["quick"] = True
    (tmp_path / "bench-gate.json").write_text(json.dumps(older))

    assert page(tmp_path).returncode == 0

    text = (tmp_path / "page.md").read_text()
    assert "**The parts are from different dates**, 31 January 2026 to" in text
    summary = r"\| \[gate\].* \*\*1 of 2 not refuted\*\* \| 2026-01-31, short run, busy \|"
    assert re.search(summary, text)
    said = text.replace("\u00a0", " ")
    assert "| CPU \\| beside GX | 1.5000001 x | at most 1.5 x | **missed** |" in said
    assert "| CPU \\| beside GX | 1 x | at most 1.5 x | not refuted |" in said
    assert "| CPU \\| beside GX | 1 x | at most 1.5 x | met |" in said
    assert "| penstock | 1.25 | 3 |" in text
    assert "| GX | 2,000 | - |" in text
    assert "10 rows, deep:" in text
    assert "out" not in re.findall(r"\| (\w+) \|", text)
    assert "not run" in text


def test_the_page_keeps_what_was_measured_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "bench-split.json"
    run(path, 1.5, code=BENCHMARK)
    before = json.loads(path.read_text()) | {"date": "2026-01-31", "busy": 0.4}
    path.write_text(json.dumps(before))
    assert page(tmp_path).returncode == 0
    first = (tmp_path / "page.md").read_text()
    path.unlink()

    assert page(tmp_path).returncode == 0
    assert (tmp_path / "page.md").read_text() == first

    here = before | {"name": "gate", "date": "2026-02-01", "machine": "another", "busy": 0.0}
    (tmp_path / "bench-gate.json").write_text(json.dumps(here))
    assert page(tmp_path).returncode == 0
    text = (tmp_path / "page.md").read_text()
    assert "dates**, 31 January 2026 to 1 February 2026." in text
    assert "on different machines" in text
    assert "Where it says *busy*" in text
    assert first[first.index("\n## split") :].strip() in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": "penstock-benchmark-0"}, "not in the form penstock-benchmark-1"),
        ({"wall": 3}, "missing, or are not known: wall"),
        ({"name": "gate"}, "no benchmark of this name: gate"),
        ({"targets": []}, "it has no target"),
        ({"targets": [{"what": "x", "value": 2, "bound": 1, "unit": "s", "side": "at most",
                       "met": True}]}, "what it says of a target is not so: x"),
        ({"targets": [{"value": 2, "met": False}]}, "lacks what, bound or side"),
    ],
)  # fmt: skip
def test_the_page_refuses_what_it_does_not_know(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "bench-split.json"
    run(path, 1.0, code=BENCHMARK)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (tmp_path / "page.md").write_text("as it was")

    done = page(tmp_path)

    assert done.returncode == 1
    assert said in done.stdout
    assert (tmp_path / "page.md").read_text() == "as it was"


def test_the_page_refuses_half_a_file(tmp_path: Path) -> None:
    (tmp_path / "bench-split.json").write_text('{"form": "penst')

    done = page(tmp_path)

    assert done.returncode == 1
    assert "it is no JSON" in done.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="NOT TESTED: make is not here. Install it")
def test_make_bench_goes_on_after_a_missed_target(tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(ROOT / "images")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "bench-first.json").write_text("of an earlier run")
    (tmp_path / "Makefile").write_text(
        f"bench-first:\n\t@exit 1\n\nbench-second:\n\t@echo second ran\n\ninclude {ROOT}/Makefile\n"
    )
    (tmp_path / "python").write_text("#!/bin/sh\necho $*\n")
    (tmp_path / "python").chmod(0o755)

    make = ["make", "-o", "setup", f"BIN={tmp_path}", "bench"]
    # As typed by somebody, not as a part of the `make test` that may run this.
    variables = {name: text for name, text in os.environ.items() if not name.startswith("MAKE")}
    typed = partial(subprocess.run, cwd=tmp_path, env=variables, capture_output=True, text=True)
    dry = typed([*make, "--dry-run"])
    assert dry.returncode == 0
    assert (tmp_path / "build" / "bench-first.json").exists()

    done = typed(make)

    assert done.returncode != 0
    lines = done.stdout.splitlines()
    assert lines[-3:] == [
        "second ran",
        "benchmarks/page.py",
        "A target was missed, or the benchmark ended in an error: bench-first",
    ]
    assert not (tmp_path / "build" / "bench-first.json").exists()
