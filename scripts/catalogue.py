"""Write components/README.md, docs/project-file.md and docs/errors.md from the code.

With --check, write nothing and exit with 1 if one is not current.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_origin

from errors_page import errors_page
from pydantic_core import to_jsonable_python

from penstock.project import Project
from penstock.records.spec import Spec, section_of

ROOT = Path(__file__).resolve().parent.parent
ORDER = (
    "ingest", "ingest_artifact", "retrieve_features", "validate", "split", "hold_out",
    "engineer_features", "train",
    "fetch_version", "evaluate", "probe_serving", "decide", "explain", "register", "approve",
    "deploy", "monitor", "intervene", "export_rows", "record_refusal", "settle", "score", "fail",
    "notify",
)  # fmt: skip
_NOTE = "<!-- Made by `make catalogue`; edit the docstrings instead. -->"


def main() -> int:
    """Write or check the documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for path, text in (
        (ROOT / "components/README.md", _components()),
        (ROOT / "docs/project-file.md", _project_file()),
        (ROOT / "docs/errors.md", errors_page(ROOT, note=_NOTE)),
    ):
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(str(path.relative_to(ROOT)))
        elif not check:
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name} is not current: run `make catalogue`.")
    return 1 if stale else 0


def _components() -> str:
    faces = sorted(
        (p.stem for p in (ROOT / "components").glob("[a-z]*.py")),
        key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name),
    )
    lines = [
        "# Components",
        "",
        _NOTE,
        "",
        "Each is usable alone: `from penstock.components.ingest import ingest`. Objects named",
        "`options`, `contract`, `expectations` and `policy` hold fields of the",
        "[project file](../docs/project-file.md)'s section of that name.",
        "",
        *_together(),
        "Caching is on by default in Kubeflow Pipelines. Components that read or change anything",
        "but their inputs switch it off in every task that is made of them; each says so below.",
        "One that is loaded from compiled YAML needs `task.set_caching_options(False)`.",
        "[What Kubeflow may reuse](../docs/submission.md#what-kubeflow-may-reuse).",
        "",
        "| component | what it does |",
        "|---|---|",
    ]
    parsed = {name: _face(name) for name in faces}
    lines += [f"| [{name}](#{name}) | {face['summary']} |" for name, face in parsed.items()]
    for name, face in parsed.items():
        lines += ["", *_component(name, face)]
    return "\n".join(lines) + "\n"


def _together() -> Iterator[str]:
    """Yield how the components work in a pipeline beside those of others."""
    example = (ROOT / "docs/their_pipeline.py").read_text(encoding="utf-8")
    yield from (
        "## In a pipeline of yours",
        "",
        "`pip install 'penstock[pipelines]'` is enough to write, compile and submit one;",
        "`'penstock[laptop]'` runs one here, with `kfp.local`.",
        "",
        "- **Reading a dataset of ours.** `dataset.path` is a folder of Parquet files, and",
        "  `_dataset.json` has their schema, profile and digest. `pandas.read_parquet(path)` and",
        "  `pyarrow.parquet.read_table(path)` read the folder; for Polars and DuckDB write",
        '  `path + "/*.parquet"`.',
        "- **Writing a table for us.** Write CSV, JSON Lines or Parquet, a file or a folder, to",
        "  the `path` of an output, and give it to [ingest_artifact](#ingest_artifact). A",
        "  component that needs a dataset and is given a plain table says so.",
        "- **Images.** Each component runs in an image of the family, [built and",
        "  pushed](../docs/images.md) once. `PENSTOCK_IMAGE_PREFIX=registry.internal/ml`, set",
        "  where the pipeline is compiled, takes them from another registry;",
        "  `PENSTOCK_IMAGE_DATA` and the like name a single one.",
        "",
        "Three components of Penstock and one of somebody else",
        "([docs/their_pipeline.py](../docs/their_pipeline.py)):",
        "",
        "```python",
        *example.rstrip().splitlines(),
        "```",
        "",
        "On this machine:",
        "",
        "```python",
        "from kfp import local",
        "",
        'local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out")',
        'print(adults_pipeline(uri="people.csv").output)',
        "```",
        "",
        "## The components",
    )


def _component(name: str, face: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    yield face["summary"]
    if face["body"]:
        yield ""
        yield face["body"]
    yield ""
    yield "| name | kind | default | meaning |"
    yield "|---|---|---|---|"
    for argument, (kind, default) in face["signature"].items():
        yield f"| `{argument}` | {kind} | {default} | {face['arguments'].get(argument, '')} |"
    if face["returns"]:
        yield f"| *returned* | {face['returns']} | | to branch on |"
    yield ""
    yield f"**Fails when:** {face['fails']}"
    if face["uncached"]:
        yield ""
        yield "**Caching:** off; it always runs."


def _face(name: str) -> dict[str, Any]:
    tree = ast.parse((ROOT / "components" / f"{name}.py").read_text(encoding="utf-8"))
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
    head, _, rest = (ast.get_docstring(function) or "").partition("\n\nArgs:\n")
    arguments, _, fails = rest.partition("\n\nFails when:\n")
    summary, _, body = head.partition("\n\n")
    return {
        "summary": " ".join(summary.split()),
        "body": "\n".join(line.strip() for line in body.splitlines()),
        "arguments": dict(_entries(arguments)),
        "signature": dict(_signature(function)),
        "returns": ast.unparse(function.returns) if function.returns else "",
        "fails": " ".join(fails.split()),
        "uncached": "cached=False" in ast.unparse(function.decorator_list[0]),
    }


def _entries(text: str) -> Iterator[tuple[str, str]]:
    for entry in re.split(r"\n(?=    \w+:)", text):
        name, _, meaning = entry.strip().partition(":")
        yield name, " ".join(meaning.split())


def _signature(function: ast.FunctionDef) -> Iterator[tuple[str, tuple[str, str]]]:
    arguments = function.args.args
    defaults = [None] * (len(arguments) - len(function.args.defaults)) + list(
        function.args.defaults
    )
    for argument, default in zip(arguments, defaults, strict=True):
        kind = ast.unparse(argument.annotation) if argument.annotation else ""
        kind = re.sub(r"dsl\.(Input|Output)\[dsl\.(\w+)\]", r"\1 \2", kind).replace("dsl.", "")
        yield argument.arg, (kind, f"`{ast.unparse(default)}`" if default is not None else "")


_OWN_TABLES = (
    "penstock.rollout.spec",
    "penstock.rollout.autoscaling_spec",
    "penstock.monitoring.settings.monitoring",
    "penstock.notification",
)
"""Modules of sections whose inner sections have tables of their own."""


def _project_file() -> str:
    lines = [
        "# The project file",
        "",
        _NOTE,
        "",
        "One YAML for one model. `penstock init TABLE --target COLUMN` writes a first one, with",
        "the settings that are changed first; `--full` writes every setting. Only `name`,",
        "`target` and `source.uri` must be given; an unknown field is an error, a section with",
        "nothing in it has its defaults.",
        "",
        "For one run, compilation or submission, a setting can be given as YAML in the command:",
        "",
        "    penstock run --set training.trials=5 --set 'training.candidates=[linear]'",
        "",
        "`compile`, `submit` and `schedule create` take `--set` too. The summary of a run names",
        "what was set for it.",
        "",
        "## Top level",
        "",
        *_table(Project, skip_sections=True),
    ]
    for title, kind in _sections():
        summary = (kind.__doc__ or "").strip().splitlines()[0]
        lines += ["", f"## {title}", "", summary, "", *_table(kind)]
    return "\n".join(lines) + "\n"


def _sections() -> Iterator[tuple[str, type[Spec]]]:
    from penstock.captures.spec import CapturesSpec, ShippedCapturesSpec
    from penstock.cluster.settings import ResourcesSpec, SecretSpec, TolerationSpec
    from penstock.gate.policy import Policy
    from penstock.monitoring.settings.monitoring import MonitoringSpec
    from penstock.notification import NotifySpec
    from penstock.quality.spec import ContractColumn, Expectation, QuarantineSpec
    from penstock.rollout import spec as rollout
    from penstock.rollout.access import AccessSpec
    from penstock.rollout.autoscaling_spec import AutoscalingSpec, StabilizationSpec

    nested: dict[str, list[tuple[str, type[Spec]]]] = {
        "contract": [("contract.columns[]", ContractColumn), ("expectations[]", Expectation)],
        "validation": [("validation.quarantine", QuarantineSpec)],
        "gate": list(_below("gate", Policy)),
        "deployment": [
            ("deployment.captures", CapturesSpec),
            ("deployment.kserve", rollout.KserveSpec),
            ("deployment.kserve.access", AccessSpec),
            ("deployment.kserve.autoscaling", AutoscalingSpec),
            ("deployment.kserve.autoscaling.behavior", StabilizationSpec),
            ("deployment.kserve.captures", ShippedCapturesSpec),
            ("deployment.kserve.prometheus", rollout.PrometheusSpec),
            ("deployment.kserve.prometheus.queries", rollout.QueriesSpec),
            ("deployment.canary", rollout.CanarySpec),
            ("deployment.canary.shadow", rollout.ShadowSpec),
            ("deployment.canary.steps[]", rollout.StepSpec),
            ("deployment.canary.rules", rollout.RulesSpec),
            ("deployment.canary.abort", rollout.AbortSpec),
            ("deployment.canary.traffic", rollout.TrafficSpec),
        ],
        "monitoring": list(_below("monitoring", MonitoringSpec)),
        "notify": list(_below("notify", NotifySpec)),
        "cluster": [
            ("cluster.resources.STEP", ResourcesSpec),
            ("cluster.secrets[]", SecretSpec),
            ("cluster.tolerations[]", TolerationSpec),
        ],
    }
    for name, field in Project.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Spec):
            yield name, field.annotation
            yield from nested.get(name, [])


def _below(path: str, kind: type[Spec]) -> Iterator[tuple[str, type[Spec]]]:
    """Yield the sections within a section, whatever rules there are; those of one kind as one."""
    titles: dict[type[Spec], list[str]] = {}
    for name, field in kind.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            many = "[]" if get_origin(field.annotation) is tuple else ""
            titles.setdefault(inner, []).append(f"{path}.{name}{many}")
    for inner, named in titles.items():
        yield ", ".join(named), inner
        yield from _below(named[0], inner)


def _table(kind: type[Spec], *, skip_sections: bool = False) -> Iterator[str]:
    yield "| field | default | meaning |"
    yield "|---|---|---|"
    for name, field in kind.model_fields.items():
        section = isinstance(field.annotation, type) and issubclass(field.annotation, Spec)
        if section and skip_sections:
            continue
        default = (
            "**required**"
            if field.is_required()
            else _default(field.get_default(call_default_factory=True))
        )
        meaning = (field.description or "").replace("|", "\\|")
        if section and kind.__module__ in _OWN_TABLES:
            default, meaning = "", meaning or "its own table below"
        yield f"| `{name}` | {default} | {meaning} |"


def _default(value: object) -> str:
    plain = to_jsonable_python(value, by_alias=False)
    return f"`{plain!r}`".replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
