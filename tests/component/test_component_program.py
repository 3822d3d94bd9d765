"""A pipeline names our components; a task runs the one of its image, or says it is another."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

import penstock
from penstock.components._component import component, load
from penstock.components.fail import fail
from penstock.errors import InputError

CONTAINER = fail.component_spec.implementation.container


def code_of(made: Any) -> str:
    (option,) = [
        part for part in made.component_spec.implementation.container.command if "--code=" in part
    ]
    return str(option).partition("=")[2]


def run(folder: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a task's command as Kubeflow does, from a folder that holds none of our code."""
    given = {
        "inputs": {"parameterValues": {"reason": "It was refused."}},
        "outputs": {"outputFile": str(folder / "executor_output.json")},
    }
    arguments = [json.dumps(given) if one == "{{$}}" else one for one in CONTAINER.args]
    return subprocess.run(
        [sys.executable if part == "python3" else part for part in [*command, *arguments]],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_failure_names_the_components_file_and_line(tmp_path: Path) -> None:
    done = run(tmp_path, CONTAINER.command)
    assert done.returncode == 1
    place = re.search(r'File "([^"]+/components/fail\.py)", line (\d+), in fail', done.stderr)
    assert place, done.stderr
    line = Path(place[1]).read_text().splitlines()[int(place[2]) - 1]
    assert line.strip().startswith("raise NotApprovedError(")
    assert line.strip() in done.stderr
    assert done.stderr.rstrip().endswith("NotApprovedError: It was refused.")


def test_a_step_without_memory_says_what_it_held_and_what_holds_less(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text("def executor_main():\n    bytearray(1 << 60)\n")
    table = {"artifacts": [{"metadata": {"rows": 8_000_000.0}}]}
    given = json.dumps({"inputs": {"artifacts": {"train": table, "features": {"artifacts": []}}}})
    command = ["penstock.components", "--code=c", "--version=v", "--executor=greedy"]
    step = ["--function_to_execute", "train", "--executor_input", given]
    done = subprocess.run(
        [sys.executable, "-m", *command, *step],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    said = re.search(
        r"ServiceError: train: there was no memory left on a table of 8,000,000 rows, when its "
        r"process had held ([\d,]+) MB\. Give it more memory \(.*\), or lower "
        r"training\.max_rows\. ",
        done.stderr,
    )
    assert said, done.stderr
    # Its own, not that of this process, which began it.
    assert int(said[1].replace(",", "")) < 200


def test_a_step_that_waits_does_not_log_each_request(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(
        "import logging, sys\n"
        "import httpx\n"
        "def executor_main():\n"
        "    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format='%(message)s')\n"
        "    answer = httpx.MockTransport(lambda request: httpx.Response(200))\n"
        "    httpx.Client(transport=answer).get('http://mlflow/api')\n"
        "    logging.info('It waits for Jo.')\n"
    )
    command = ["penstock.components", "--code=c", "--version=v", "--executor=waiting"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--function_to_execute", "approve"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "It waits for Jo.\n", done.stderr


def test_another_component_of_the_name_is_not_run(tmp_path: Path) -> None:
    other = [re.sub("(--code|--version)=.*", r"\1=9.9", part) for part in CONTAINER.command]
    done = run(tmp_path, other)
    assert done.returncode == 1
    assert "compiled by Penstock 9.9" in done.stderr
    assert f"Penstock {penstock.__version__} has, which is installed here" in done.stderr
    assert "NotApprovedError" not in done.stderr
    with pytest.raises(InputError, match=r"^fail: the pipeline was compiled by"):
        load("fail", code="9.9", version="9.9")


def test_the_function_is_the_same_inside_a_task_and_outside() -> None:
    assert load("fail", code=code_of(fail), version="9.9") is fail.python_func


def made(write: Callable[[], Any]) -> str:
    return code_of(component(runs_in="data")(write()))


def test_what_counts_of_a_component_is_its_code() -> None:
    def plain() -> Any:
        def step(table: dsl.Input[dsl.Dataset], rows: int = 1) -> None:
            print(table.path, rows)

        return step

    def explained() -> Any:
        def step(table: dsl.Input[dsl.Dataset], rows: int = 1) -> None:
            """Print.

            Args:
                table: A table.
                rows: Some rows. There may be more.
            """
            print(table.path, rows)

        return step

    def another_default() -> Any:
        def step(table: dsl.Input[dsl.Dataset], rows: int = 2) -> None:
            print(table.path, rows)

        return step

    def another_body() -> Any:
        def step(table: dsl.Input[dsl.Dataset], rows: int = 1) -> None:
            print(table.path, -rows)

        return step

    assert made(plain) == made(explained)
    assert len({made(plain), made(another_default), made(another_body)}) == 3
    described = component(runs_in="data")(explained()).component_spec.inputs
    assert described["rows"].description == "Some rows."


def test_the_command_is_one_that_kfp_local_starts_as_a_process() -> None:
    """Its SubprocessRunner refuses one that does not name the executor, or starts it directly."""
    assert CONTAINER.command[:3] == ["python3", "-m", "penstock.components"]
    assert CONTAINER.command[-1] == "--executor=kfp.dsl.executor_main"
    assert CONTAINER.args == ["--executor_input", "{{$}}", "--function_to_execute", "fail"]
