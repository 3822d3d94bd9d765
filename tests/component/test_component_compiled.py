"""What is compiled is small, describes its parameters, and is what kfp's compiler makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from penstock.components.fail import fail
from penstock.pipelines.compile import compile_release
from penstock.pipelines.compiled_yaml import as_yaml, compact
from penstock.pipelines.parameters import for_file
from penstock.pipelines.release import release
from penstock.pipelines.task_settings import on_cluster, sized
from penstock.project import Project

ROOT = Path(__file__).parents[2]
MOST = 60_000

PLAIN = {"name": "wine", "target": "quality", "source": {"uri": "s3://b/wine.csv"}}
CLUSTER = yaml.safe_load((ROOT / "benchmarks/cluster-settings.yaml").read_text())
PROJECTS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "KServe": yaml.safe_load((ROOT / "docs/kind-project.yaml").read_text()),
    "every cluster setting": {**PLAIN, "cluster": CLUSTER},
}


@dataclass(frozen=True)
class Compiled:
    text: str
    spec: dict
    platform: dict


@pytest.fixture(scope="module", params=PROJECTS)
def project(request: pytest.FixtureRequest) -> Project:
    return Project.parse(PROJECTS[request.param], where="test")


@pytest.fixture(scope="module")
def ours(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    path = tmp_path_factory.mktemp("ours") / "p.yaml"
    compile_release(project, output=path)
    return read(path)


def read(path: Path) -> Compiled:
    text = path.read_text()
    documents = list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    return Compiled(text, documents[0], documents[1] if len(documents) > 1 else {})


def test_it_is_small(project: Project, ours: Compiled, tmp_path: Path) -> None:
    assert len(ours.text.encode()) <= MOST
    compile_release(project, output=tmp_path / "k.yaml", kubernetes_manifest=True)
    assert (tmp_path / "k.yaml").stat().st_size <= MOST


def test_every_parameter_of_a_run_is_described_in_a_line(ours: Compiled) -> None:
    for name, given in ours.spec["root"]["inputDefinitions"]["parameters"].items():
        assert 10 < len(given["description"]) <= 90, name
        assert given["description"].endswith((".", "?")), name
        assert "\n" not in given["description"], name


def test_a_task_is_sized_without_reading_the_source_of_every_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which took kfp half of the time of compiling; what has no container is still refused."""

    @dsl.pipeline(name="inner")
    def inner():
        monkeypatch.setattr("inspect.stack", list)
        sized(fail(reason="Said."), "Fail", limit="1Gi")
        monkeypatch.undo()

    with pytest.raises(ValueError, match="set_cpu_request can only be used on single-step"):

        @dsl.pipeline(name="outer")
        def outer():
            sized(inner(), "Inner", limit="1Gi")


def test_no_docstring_is_in_it(ours: Compiled) -> None:
    assert '"""' not in ours.text
    assert "Fails when" not in ours.text
    for name, executor in ours.spec["deploymentSpec"]["executors"].items():
        assert all("\n" not in part for part in executor["container"]["command"]), name


def tasks(spec: dict) -> Iterator[tuple[str, dict, dict]]:
    """Yield the name of each task, the task, and the component that it runs."""
    for component in (spec["root"], *spec["components"].values()):
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            yield name, task, spec["components"][task["componentRef"]["name"]]


def steps(compiled: Compiled) -> dict[str, Any]:
    """Return all that decides how each step is run, by the task's name."""
    spec = compiled.spec
    kubernetes = compiled.platform.get("platforms", {}).get("kubernetes", {})
    settings = kubernetes.get("deploymentSpec", {})
    found = {}
    for name, task, component in tasks(spec):
        label = component.get("executorLabel")
        if label:
            run = spec["deploymentSpec"]["executors"][label]
            placed = settings.get("executors", {}).get(label)
            found[name] = {**task, "componentRef": run, "placed": placed}
    return found


def test_each_step_is_run_as_kfp_compiles_it(
    project: Project, ours: Compiled, tmp_path: Path
) -> None:
    compiler.Compiler().compile(
        on_cluster(release, project.cluster),
        str(tmp_path / "kfp.yaml"),
        pipeline_parameters=for_file(project),
    )
    theirs = read(tmp_path / "kfp.yaml")
    assert steps(ours) == steps(theirs)
    assert ours.spec["root"]["inputDefinitions"] == theirs.spec["root"]["inputDefinitions"]
    assert ours.spec["pipelineInfo"] == theirs.spec["pipelineInfo"]


def test_a_branch_is_handed_what_is_read_in_it_and_nothing_else(ours: Compiled) -> None:
    for name, task, component in tasks(ours.spec):
        condition = task.get("triggerPolicy", {}).get("condition", "")
        for group in ("parameters", "artifacts"):
            given = set(task.get("inputs", {}).get(group, {}))
            defined = component.get("inputDefinitions", {}).get(group, {})
            needed = {one for one, what in defined.items() if not what.get("isOptional")}
            assert needed <= given <= set(defined), name
            if "dag" in component:
                read = {
                    source
                    for inner in component["dag"]["tasks"].values()
                    for handed in inner.get("inputs", {}).get(group, {}).values()
                    for kind, source in handed.items()
                    if kind.startswith("componentInput")
                }
                assert read <= given, name
                assert all(f"'{one}'" in condition for one in given - read), name


def test_tasks_that_run_otherwise_keep_components_of_their_own() -> None:
    def spec() -> dict[str, Any]:
        names = ("fail", "fail-2", "fail-3")
        return {
            "root": {"dag": {"tasks": {n: {"componentRef": {"name": f"comp-{n}"}} for n in names}}},
            "components": {f"comp-{n}": {"executorLabel": f"exec-{n}"} for n in names},
            "deploymentSpec": {"executors": {f"exec-{n}": {"image": "i"} for n in names}},
        }

    def used(given: dict[str, Any], platform: dict[str, Any]) -> list[str]:
        compact(given, platform)
        return [task["componentRef"]["name"] for _, task, _ in tasks(given)]

    assert used(spec(), {}) == ["comp-fail"] * 3
    other = spec()
    other["deploymentSpec"]["executors"]["exec-fail-2"] = {"image": "j"}
    assert used(other, {}) == ["comp-fail", "comp-fail-2", "comp-fail"]
    secret = {"exec-fail-3": {"secretAsEnv": []}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": secret}}}}
    assert used(spec(), platform) == ["comp-fail", "comp-fail", "comp-fail-3"]
    assert secret == {"exec-fail-3": {"secretAsEnv": []}}


def test_the_layout_changes_no_value() -> None:
    documents = [
        {
            "text": "one\n  two: # no comment\n", "blank": " \n \t\n", "quoted": "'a': \"b\"",
            "like others": ["true", "1.0", "null", "~", "2026-11-29", "=", "{{$}}", "- x", ""],
            "long": "word " * 100, "others": [True, 1, 1.5, None, [], {}, [[{}]]],
            "ümläut": "\u2028",
            "deep": {"a": {"b": {"c": [{"d": "x" * 150}, {"e": list(range(60))}]}}},
        },
        [],
    ]  # fmt: skip
    text = as_yaml(documents)
    assert list(yaml.safe_load_all(text)) == documents
    assert text == as_yaml(documents)


def test_a_short_mapping_stands_on_a_line() -> None:
    assert as_yaml([{"b": {"y": [1, 2], "x": "z"}, "a": {"k": "v\nw\n"}}]) == (
        "a:\n  k: |\n    v\n    w\nb: {x: z, y: [1, 2]}\n"
    )
