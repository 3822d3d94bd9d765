"""The project file's `cluster` section in the compiled pipeline, field by field."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compiled_pipeline import without_retries

from penstock.errors import InputError
from penstock.pipelines.compile import LOADER, compile_release, version_name
from penstock.project import Project

STEPS = {
    "ingest", "validate", "split", "engineer-features", "train", "evaluate", "probe-serving",
    "decide", "explain", "register", "approve", "deploy", "notify",
}  # fmt: skip
FAILS = {"rolled-back", "not-approved", "gate-refused", "data-refused"}


def project(**cluster: Any) -> Project:
    plain = {"name": "wine", "target": "quality", "source": {"uri": "s3://b/wine.csv"}}
    return Project.parse(plain | {"cluster": cluster}, where="test")


def compiled(folder: Path, **cluster: Any) -> tuple[dict, dict[str, dict]]:
    """Return the pipeline spec, and what each task has of the platform."""
    compile_release(project(**cluster), output=folder / "p.yaml")
    spec, *platform = yaml.load_all((folder / "p.yaml").read_text(), Loader=LOADER)
    if not platform:
        return spec, {}
    executors = platform[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return spec, {
        task: executors[label] for task, label in labels(spec).items() if label in executors
    }


def labels(spec: dict) -> dict[str, str]:
    """Return the executor of each task that has one; tasks may share it."""
    components = spec["components"]
    return {
        name: components[task["componentRef"]["name"]]["executorLabel"]
        for component in (spec["root"], *components.values())
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if "dag" not in components[task["componentRef"]["name"]]
    }


def test_without_settings_there_is_one_document(tmp_path: Path) -> None:
    spec, platform = compiled(tmp_path)
    assert platform == {}
    for run_only in ({"service_account": "x"}, {"experiment": "x"}, {"namespace": "x"}):
        assert compiled(tmp_path, **run_only) == (spec, {})


ALL: dict[str, Any] = {
    "image_pull_policy": "Always",
    "node_selector": {"disk": "ssd"},
    "tolerations": [
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "seconds": 30},
        {"key": "a", "value": "b"},
        {"operator": "Exists"},
    ],
    "image_pull_secrets": ["one", "two"],
    "secrets": [
        {"name": "s3", "environment": {"id": "AWS_ID"}},
        {"name": "ca", "mount_path": "/etc/ca", "optional": True},
    ],
}


def constant(name: str) -> dict[str, Any]:
    return {
        "secretName": name,
        "secretNameParameter": {"runtimeValue": {"constant": name}},
    }


CARRIED: dict[str, Any] = {
    "imagePullPolicy": "Always",
    "nodeSelector": {"labels": {"disk": "ssd"}},
    "tolerations": [
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "30"},
        {"key": "a", "operator": "Equal", "value": "b"},
        {"operator": "Exists"},
    ],
    "imagePullSecret": [constant("one"), constant("two")],
    "secretAsEnv": [
        {
            **constant("s3"),
            "keyToEnv": [{"secretKey": "id", "envVar": "AWS_ID"}],
            "optional": False,
        }
    ],
    "secretAsVolume": [{**constant("ca"), "mountPath": "/etc/ca", "optional": True}],
}


def test_every_task_carries_every_setting_and_no_other(tmp_path: Path) -> None:
    _, platform = compiled(tmp_path, **ALL)
    assert platform == dict.fromkeys(STEPS | FAILS, CARRIED)


def test_every_task_carries_one_setting_alone(tmp_path: Path) -> None:
    _, platform = compiled(tmp_path, node_selector={"disk": "ssd"})
    assert platform == {name: {"nodeSelector": CARRIED["nodeSelector"]} for name in STEPS | FAILS}


def resources(spec: dict, step: str) -> dict[str, str]:
    executor = spec["deploymentSpec"]["executors"][labels(spec)[step]]
    asked: dict[str, str] = executor["container"]["resources"]
    return {name: value for name, value in asked.items() if name.startswith("resource")}


def test_a_step_may_ask_for_more_than_the_pipeline_does(tmp_path: Path) -> None:
    plain, _ = compiled(tmp_path)
    spec, platform = compiled(
        tmp_path, resources={"train": {"cpu": "4", "memory": "32Gi"}, "split": {"memory": "900Mi"}}
    )
    assert platform == {}
    assert resources(spec, "train") == {
        "resourceCpuRequest": "4",
        "resourceMemoryRequest": "32Gi",
        "resourceMemoryLimit": "32Gi",
    }
    assert resources(spec, "split") == {
        **resources(plain, "split"),
        "resourceMemoryRequest": "900Mi",
        "resourceMemoryLimit": "900Mi",
    }
    assert resources(spec, "evaluate") == resources(plain, "evaluate")


def test_a_small_node_has_room_for_every_step(tmp_path: Path) -> None:
    """KFP's own installation asks for 0.7 cores and 3.1 GiB: what is left of 10 is enough."""
    spec, _ = compiled(tmp_path)
    waiting = resources(spec, "approve")
    assert (waiting["resourceCpuRequest"], waiting["resourceMemoryRequest"]) == ("50m", "128Mi")
    for name in (STEPS | FAILS) - {"approve"}:
        asked = resources(spec, name)
        assert asked["resourceCpuRequest"] in ("1", "500m", "250m"), name
        assert asked["resourceMemoryRequest"] in ("2Gi", "1Gi", "512Mi"), name


def test_a_secret_may_be_for_named_steps_alone(tmp_path: Path) -> None:
    secret = {"name": "s3", "environment": {"id": "AWS_ID"}, "mount_path": "/s", "steps": ["train"]}
    _, platform = compiled(tmp_path, secrets=[secret])
    assert platform.keys() == {"train"}
    assert platform["train"].keys() == {"secretAsEnv", "secretAsVolume"}


def test_variables_and_caching_are_in_the_pipeline_itself(tmp_path: Path) -> None:
    spec, platform = compiled(tmp_path, environment={"A": "b"}, caching=False)
    assert platform == {}
    for executor in spec["deploymentSpec"]["executors"].values():
        assert executor["container"]["env"] == [{"name": "A", "value": "b"}]
    cached = [
        name
        for component in (spec["root"], *spec["components"].values())
        for name, task in component.get("dag", {}).get("tasks", {}).items()
        if task.get("cachingOptions")
    ]
    assert cached == []


def test_the_pipeline_is_otherwise_the_same(tmp_path: Path) -> None:
    plain, _ = compiled(tmp_path)
    placed, _ = compiled(tmp_path, node_selector={"disk": "ssd"})
    assert placed == plain
    again, platform = compiled(tmp_path)
    assert (again, platform) == (plain, {}), "one project's settings stay out of the next"


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"nodeselector": {}}, "nodeselector"),
        ({"image_pull_policy": "Sometimes"}, "image_pull_policy"),
        ({"service_account": "Not Valid"}, "service_account"),
        ({"resources": {"train": {}}}, "give cpu, memory or both"),
        ({"resources": {"training": {"cpu": "1"}}}, "resources"),
        ({"resources": {"train": {"cpu": "0m"}}}, "resources.train.cpu"),
        ({"resources": {"train": {"memory": "8 GB"}}}, "resources.train.memory"),
        ({"secrets": [{"name": "s3"}]}, "no step sees the Secret"),
        ({"secrets": [{"name": "s3", "environment": {"a": "1A"}}]}, "environment"),
        ({"secrets": [{"name": "s3", "mount_path": "etc"}]}, "mount_path"),
        ({"secrets": [{"name": "s3", "mount_path": "/e", "steps": ["trian"]}]}, "trian"),
        ({"tolerations": [{"operator": "Exists", "value": "x"}]}, "Exists takes any value"),
        ({"tolerations": [{"value": "x"}]}, "Equal needs a key"),
        ({"tolerations": [{"key": "x", "seconds": 3}]}, "NoExecute"),
    ],
)
def test_a_wrong_setting_is_refused_when_the_project_is_loaded(cluster: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        project(**cluster)


def test_the_step_that_ingests_mounts_the_claim_where_datasets_are_kept(tmp_path: Path) -> None:
    source = project().source.model_copy(update={"incremental": "pvc://rows/kept"})
    kept = project().model_copy(update={"source": source})
    compile_release(kept, output=tmp_path / "p.yaml")
    spec, platform = yaml.load_all((tmp_path / "p.yaml").read_text(), Loader=LOADER)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mounts = {name: one["pvcMount"][0]["mountPath"] for name, one in executors.items()}
    assert mounts == {labels(spec)["ingest"]: "/mnt/penstock/rows"}
    defaults = spec["root"]["inputDefinitions"]["parameters"]["source"]["defaultValue"]
    assert defaults == {"incremental": "pvc://rows/kept"}


def test_a_version_is_named_by_its_content(tmp_path: Path) -> None:
    def manifest(**changes: Any) -> dict:
        changed = project().model_copy(update=changes)
        compile_release(changed, output=tmp_path / "k.yaml", kubernetes_manifest=True)
        return list(yaml.load_all((tmp_path / "k.yaml").read_text(), Loader=LOADER))[1]

    plain = manifest()["metadata"]["name"]
    assert plain == manifest()["metadata"]["name"]
    assert plain.startswith("wine-")
    assert plain != manifest(target="colour")["metadata"]["name"]
    placed = manifest(cluster=project(node_selector={"disk": "ssd"}).cluster)
    assert plain != placed["metadata"]["name"]
    assert "nodeSelector" in str(placed["spec"]["platformSpec"])
    assert placed["spec"]["displayName"] == placed["metadata"]["name"]
    longest = project().model_copy(update={"name": "w" * 50})
    assert len(version_name(longest.name, "a: 1")) <= 63


def test_a_version_has_one_name_in_every_process(tmp_path: Path) -> None:
    """kfp's leading comment changes with the process; the name must not."""
    code = """
from pathlib import Path
from penstock.pipelines.compile import compile_release, version_name
from penstock.project import Project
project = Project.parse({"name": "wine", "target": "q", "source": {"uri": "s3://b/w.csv"},
    "training": {"trials": 3, "folds": 2, "seed": 4, "candidates": ["linear"]}}, where="test")
compile_release(project, output=Path("p.yaml"))
print(version_name(project.name, Path("p.yaml").read_text()))
"""
    names = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    }
    assert len(names) == 1


@pytest.mark.long
def test_a_local_run_of_the_compiled_file_ignores_the_cluster(tmp_path: Path) -> None:
    """kfp.local reads both documents; the settings neither change the run nor make it warn."""
    compile_release(
        project(
            node_selector={"tier": "gold42"},
            secrets=[{"name": "gold43", "environment": {"a": "B"}}],
        ),
        output=tmp_path / "p.yaml",
    )
    compiled = (tmp_path / "p.yaml").read_text()
    (tmp_path / "p.yaml").write_text(without_retries(compiled))
    code = """
import sys
from kfp import components, local
local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out", raise_on_error=False)
components.load_component_from_file("p.yaml")(uri="nothing.csv")
"""
    done = subprocess.run(
        [sys.executable, "-W", "default::UserWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert "Executing task" in output
    assert "nothing.csv" in output
    for word in ("gold42", "gold43", "platform_spec", "platform spec", "ubernetes"):
        assert word not in output
