"""A bundle answers as the server does, with onnxruntime and numpy alone."""

from __future__ import annotations

import ast
import inspect
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from mlflow import MlflowClient
from serving_process import ROW
from test_serving_sklearn_scorer import KINDS, model_of

from penstock.bundle.make import Form, bundle
from penstock.bundle.rules import rules_for
from penstock.bundle.scorer import Model as Scorer
from penstock.errors import InputError, NotApprovedError
from penstock.export.convert import convert
from penstock.model.onnx import runner
from penstock.pipelines import cli
from penstock.records.dataset import Reading, TextFormat
from penstock.records.export import Export
from penstock.serving.columns import Intake
from penstock.serving.loading import load_scorer
from penstock.serving.request_errors import RequestError
from penstock.serving.service import Service

RUN = """
import importlib.abc, sys
class Only(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in {"numpy", "onnxruntime", "scorer"}:
            return None
        raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Only())
sys.path.insert(0, sys.argv[1])
import json
from scorer import Model
model = Model(sys.argv[1])
for line in sys.stdin:
    print(json.dumps(model.predict(json.loads(line))))
"""

ODD: list[dict[str, Any]] = [
    dict.fromkeys(ROW),
    ROW | {"job": "a level nobody saw", "hours per-week": -0.0},
    ROW | {"job": "\u00c4 \u2713 \U0001f600", "age": 2**53 + 1, "hours per-week": 1e-300},
    ROW | {"since": "1969-12-31T23:59:59.999999Z", "member": None},
    ROW | {"since": "2026-01-31 12:00:00.1234567+5", "member": 1, "age": 30.0},
]


@pytest.mark.parametrize(
    "task",
    [
        "binary",
        pytest.param("multiclass", marks=pytest.mark.long),
        pytest.param("regression", marks=pytest.mark.long),
    ],
)
def test_its_answers_are_the_servers_with_two_libraries(
    task: str,
    registered: Callable[..., Any],
    many_instances: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    version = registered(task)
    out = tmp_path / "bundle"
    command = ["bundle", "models:/adult@champion", "--out", str(out)]
    assert cli.main([*command, "--tracking-uri", version.store]) == 0
    assert "models:/adult/1 is in" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["model.onnx", "rules.json", "scorer.py"]
    rows = [*many_instances, *ODD]
    requests = [rows, *([row] for row in rows[-8:])]
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN, str(out)],
        input="".join(json.dumps(request) + "\n" for request in requests),
        capture_output=True,
        text=True,
        check=True,
    )
    scorer = load_scorer(
        version.folder, digest=json.loads((out / "rules.json").read_text())["digest"],
        export=version.digest,
    )  # fmt: skip
    service = Service(scorer=scorer, name="adult", version="1")
    for request, said in zip(requests, done.stdout.splitlines(), strict=True):
        answer = json.loads(service.predict(json.dumps({"instances": request}).encode(), "v1").body)
        found = json.loads(said)
        assert found == {name: answer[name] for name in found}


READING = Reading(
    na_values=("", "NA"),
    strip=True,
    formats=(
        TextFormat(column="hours", decimal=",", thousands=".", affix="EUR"),
        TextFormat(column="since", time="%d/%m/%Y"),
        TextFormat(column="code", thousands=" "),
    ),
)
VALUES: dict[str, list[Any]] = {
    "age": [None, 3, 3.0, 3.5, "7", "007", "7.0", "1e3", "", "NA", " 8 ", True, "x", 2**63,
            -(2**63), 2**63 - 1, "7\n", "+7", "\u22127", "9223372036854775807", "inf", "\u0667", [],
            math.nan, "0x10"],
    "hours": [None, 1, 2.5, "1.234,5 EUR", "EUR 1,5", "(EUR 2,00)", "\u22121,5 EUR", "1.5", "12",
              "nan", "inf", [1], {}, False, "1_0", 10**400, "2,5 EUR\n", "(EUR 2,00)\n", "-EUR 3",
              "- EUR 3", "EUR 1,5 EUR", "1.234.567,5 EUR", "12.34,5 EUR", "1e400 EUR", "-0,0 EUR",
              5e-324, -0.0],
    "member": [None, True, 0, 1.0, 2, "yes", "F", "1", "", "maybe", "TRUE", 0.5, "tRUE", 10**400,
               []],
    "job": [None, "clerk", " nurse ", "NA", "", 5, True, "\u00e4\u2713", "new", "\t\u00a0",
            "\ud800", "a\0b", {}],
    "code": [None, 1, "1 000", "1000", "1\u00a0000", "10 00", 1.5, "1 000\n", "-1 000",
             " ", "1000.0"],
    "since": [None, "2026-01-31", "31/01/2026", "2026-01-31T12:00:00Z", "2026-02-30", "NA", 5,
              "2026-01-31 12:00:00.1234567+5", "2026-01-31T12:00+25:00", "0001-01-01", "now",
              "2026-01-31T12:00+1299", "2026-01-31T12:00+530", "2026-01-31T12:00 -1:05",
              "2026-01-31T12Z", "0001-01-01T00:00+01:00", "9999-12-31T23:59:59-01:00",
              "2026-01-31T24:00:00", "2026-01-31T23:59:60", "2026-01-31\n", "\u0662026-01-31",
              "31/1/26", 1.0, "2026-01-31T12:00:00.123456789UTC", "2026-01-31T12:00+245"],
}  # fmt: skip


@pytest.mark.parametrize("reading", [READING, None])
def test_every_value_means_what_it_means_to_the_server(
    reading: Reading | None, tmp_path: Path
) -> None:
    model = model_of(tuple(VALUES))
    record = model.record.model_copy(update={"reading": reading})
    content, inputs = convert(model.pipeline, record)
    (tmp_path / "model.onnx").write_bytes(content)
    described = Export(model="", file="x", inputs=inputs, dataset="", tolerance=0)
    (tmp_path / "rules.json").write_text(json.dumps(rules_for(record, described)))
    scorer = Scorer(tmp_path)
    intake = Intake(record.columns, reading=reading, levels={})
    run = runner(content, inputs, where="")
    usual = {
        name: values[1] if name != "since" else "2026-01-31" for name, values in VALUES.items()
    }
    usual["code"] = 1
    refused = 0
    for name, values in VALUES.items():
        for value in values:
            row = usual | {name: value}
            try:
                batch = intake.convert({n: [v] for n, v in row.items()}, row="{}")
                expected: Any = run(batch.arrays).tolist()
            except (RequestError, OverflowError):
                expected = None
            try:
                found: Any = [pair[1] for pair in scorer.predict([row])["probabilities"]]
            except ValueError as error:
                found = None if f"column {name!r}" in str(error) else error
            assert found == expected, (name, value)
            refused += found is None
    assert refused > 20
    assert {KINDS[name][0] for name in VALUES} == {
        "integer", "number", "boolean", "string", "datetime"
    }  # fmt: skip


def test_the_scorer_is_of_the_python_that_it_names(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    """3.10: what it writes, imports and asks of the standard library."""
    bundle("models:/adult/1", output=tmp_path / "out", tracking_uri=registered().store)
    tree = ast.parse((tmp_path / "out/scorer.py").read_text(), feature_version=(3, 10))
    assert "Python 3.10 or later" in (ast.get_docstring(tree) or "")
    nodes = list(ast.walk(tree))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)]
    others = {name.partition(".")[0] for name in named} - sys.stdlib_module_names
    assert others == {"numpy", "onnxruntime"}
    # What is copied, before what it says to mypy is left out.
    source = shutil.copy(inspect.getfile(Scorer), tmp_path / "scorer.py")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-version", "3.10", "--follow-imports", "skip",
         "--config-file", "", "--cache-dir", str(tmp_path / "mypy"), source],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("form", get_args(Form))
def test_a_version_that_was_not_approved_is_refused(
    form: str, registered: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bundle", "models:/adult/2", "--form", form, "--out", str(tmp_path / "out")]
    command += ["--tracking-uri", registered().store]
    assert cli.main(command) == 1
    assert "models:/adult/2, with --unapproved" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_that_was_not_approved_is_taken_by_its_number_alone(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    store, out = registered().store, tmp_path / "out"
    assert bundle("models:/adult/2", output=out, tracking_uri=store, unapproved=True)
    assert json.loads((out / "rules.json").read_text())["model"] == "models:/adult/2"
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    client.set_registered_model_alias("adult", "challenger", "2")
    with pytest.raises(NotApprovedError):
        bundle(
            "models:/adult@challenger",
            output=tmp_path / "by alias", tracking_uri=store, unapproved=True,
        )  # fmt: skip


def test_a_version_without_an_onnx_form_is_refused(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    version = registered(onnx=False)
    with pytest.raises(InputError, match=r"models:/adult/1: the version has no ONNX form"):
        bundle("models:/adult@champion", output=tmp_path / "out", tracking_uri=version.store)
    assert not (tmp_path / "out").exists()


def test_a_row_without_a_column_is_refused(registered: Callable[..., Any], tmp_path: Path) -> None:
    bundle("models:/adult/1", output=tmp_path / "out", tracking_uri=registered().store)
    with pytest.raises(ValueError, match="row 0: the columns must be"):
        Scorer(tmp_path / "out").predict([{"age": 1}])
    good = json.dumps(ROW)
    for line in ("5", '{"age": 1}', "{", json.dumps(ROW | {"age": "old"})):
        done = subprocess.run(
            [sys.executable, str(tmp_path / "out/scorer.py")],
            input=f"{good}\n{line}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, len(done.stdout.splitlines())) == (1, 1)
        assert done.stderr.startswith("line 2: ")
