"""The monitor's pipeline as Kubeflow runs it: compiled, by kfp.local, each branch both ways."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_shop import ClusterShop, PodFigures, cluster_shop, s3_bucket
from compiled_pipeline import without_retries
from prometheus_server import small_prometheus

from penstock.errors import InputError
from penstock.pipelines.compile import LOADER, compile_monitor
from penstock.pipelines.local_runner import LocalSteps, started_by
from penstock.pipelines.warm import WarmSteps
from penstock.project import Project
from penstock.records.monitoring import Verdict

pytestmark = pytest.mark.slow

WARM = {
    "ours": {
        "monitor": (
            "kfp.dsl.executor_main",
            "penstock.components.monitor",
            "penstock.monitoring.cluster.monitor",
        ),
        "fail": ("penstock.rollout.run_ended",),
    }
}
"""What is imported once for the later runs. The first has a new interpreter for each step."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ClusterShop]:
    with s3_bucket("shop") as bucket, cluster_shop(tmp_path, store=bucket) as made:
        yield made


def project(site: ClusterShop, **kserve: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "target": "buys",
        "source": {"uri": "s3://b/shop.csv"},
        "deployment": {"router": "kserve-gateway", "kserve": site.kserve | kserve},
        # A task's clock is this machine's, and the shop's rows are weeks old.
        "monitoring": {"state": f"{site.store}/state", "volume": {"newest_within": 1e6}},
        "tracking_uri": "http://127.0.0.1:9",
    }


def run(warm: WarmSteps | None) -> list[str]:
    """Run the compiled pipeline of this folder; return what ended it as failed."""
    from kfp import components, local

    out = io.StringIO()
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root="out", raise_on_error=False)
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        warnings.catch_warnings(),
        started_by(LocalSteps(warm)),
    ):
        warnings.simplefilter("ignore")
        components.load_component_from_file("monitor.yaml")()
    said = out.getvalue()
    tasks = re.findall(r"Executing task (?:\x1b\[\d+m)?'([^']+)'", said)
    # Tasks that do the same share a component, by whose name kfp.local calls them.
    ended = re.findall(r"NotApprovedError: (.*)", said)
    assert tasks[:1] == ["monitor"], said
    assert len(tasks) == 1 + len(ended), said
    return ended


def verdicts(folder: Path) -> list[Verdict]:
    found = [Verdict.read(path) for path in folder.glob("out/*/monitor/verdict")]
    return sorted(found, key=lambda one: one.number)


def test_every_branch_both_ways(site: ClusterShop, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = site.shop.folder
    monkeypatch.chdir(folder)
    with (
        small_prometheus() as prometheus,
        WarmSteps(log=folder / "imports.log", servers=WARM) as warm,
    ):
        served = project(site, prometheus={"url": prometheus.url, "stale_after": 1e6})
        (folder / "project.yaml").write_text(yaml.safe_dump(served))
        command = [str(Path(sys.executable).with_name("penstock")), "compile", "--monitor"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.stdout == "Wrote monitor.yaml.\n", done.stderr
        compiled = folder / "monitor.yaml"
        compiled.write_text(without_retries(compiled.read_text()))

        figures = PodFigures(prometheus)
        target = site.watcher.target()
        (pod,) = target.ready_pods(target.serving())
        figures.answers(pod, 1, 200)
        figures.scrape()
        (blind,) = run(None)
        assert blind.startswith("Something that is to be watched cannot be seen. ")
        assert "No rows were captured yet." in blind

        site.serve()
        assert run(warm) == []

        site.serve(missing=0.3)
        (drifted,) = run(warm)
        assert drifted.startswith("The data have drifted. The quality of the data of version 1")

        figures.answers(pod, 1, 500, errors=200)
        figures.scrape()
        site.serve()
        (degraded,) = run(warm)
        assert degraded.startswith("The model or its service is worse than it was. ")

    kinds = [one.kind for one in verdicts(folder)]
    assert kinds == ["blind", "healthy", "drifted", "degraded"]
    state = site.watcher.monitor().folder.read_only(service="shop")
    assert (state.number, state.totals.rows) == (4, 6000)
    pages = list(folder.glob("out/*/monitor/report"))
    assert len(pages) == 4
    # What the servers answered is in no output of a step.
    assert not any(b"request_id" in path.read_bytes() for path in folder.glob("out/*/monitor/*"))


def compiled(tmp_path: Path, raw: dict[str, Any]) -> list[dict[str, Any]]:
    compile_monitor(Project.parse(raw, where="test"), output=tmp_path / "m.yaml")
    return list(yaml.load_all((tmp_path / "m.yaml").read_text(), Loader=LOADER))


PLAIN: dict[str, Any] = {
    "name": "shop",
    "target": "buys",
    "source": {"uri": "s3://b/shop.csv"},
    "deployment": {"router": "kserve"},
    "monitoring": {"state": "s3://b/monitor"},
}


def test_it_is_small_and_has_the_projects_values(tmp_path: Path) -> None:
    (spec,) = compiled(tmp_path, PLAIN)
    assert (tmp_path / "m.yaml").stat().st_size < 20_000
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: one.get("defaultValue") for name, one in inputs.items()} == {
        "name": "shop",
        "tracking_uri": "",
        "deployment": {"router": "kserve"},
        "monitoring": {"state": "s3://b/monitor"},
        "notify": {},
    }


def test_claims_are_mounted_and_secrets_given_to_the_step_that_reads_them(tmp_path: Path) -> None:
    captures = {"kserve": {"captures": {"destination": "pvc://rows/shop"}}}
    raw = PLAIN | {
        "deployment": {"router": "kserve", **captures},
        "monitoring": {"state": "pvc://watch"},
        "notify": {"cloudevents": "${secret:events/address}"},
    }
    _, platform = compiled(tmp_path, raw)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    (look,) = executors.values()
    assert {one["constant"]: one["mountPath"] for one in look["pvcMount"]} == {
        "watch": "/mnt/penstock/watch",
        "rows": "/mnt/penstock/rows",
    }
    assert [one["secretName"] for one in look["secretAsEnv"]] == ["events"]


ACTS = PLAIN | {"monitoring": {"state": "s3://b/monitor", "retrain": "automatic"}}


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """The pipeline of a monitor that acts, and its size. Compiling it takes seconds."""
    folder = tmp_path_factory.mktemp("acting")
    (spec,) = compiled(folder, ACTS)
    return spec, (folder / "m.yaml").stat().st_size


def test_where_it_acts_it_has_the_steps_of_a_recall_and_of_a_retraining(
    acting: tuple[dict[str, Any], int],
) -> None:
    spec, size = acting
    assert size < 95_000
    steps = {re.sub(r"-\d+$", "", name) for name in tasks_of(spec)}
    assert {"monitor", "intervene", "settle", "fetch-version", "train", "deploy"} <= steps
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    # Its rows are those that users sent.
    assert {"uri", "source", "requested_by"}.isdisjoint(inputs)
    assert inputs["target"]["defaultValue"] == "buys"
    assert inputs["monitoring"]["defaultValue"]["retrain"] == "automatic"


def tasks_of(spec: dict[str, Any]) -> list[str]:
    parts = (spec["root"], *spec["components"].values())
    return [name for part in parts for name in part.get("dag", {}).get("tasks", {})]


@pytest.mark.long
def test_each_ending_that_refuses_is_written_down_before_the_run_ends(
    acting: tuple[dict[str, Any], int],
) -> None:
    spec, _ = acting
    waits = {
        name: task.get("dependentTasks", [])
        for part in (spec["root"], *spec["components"].values())
        for name, task in part.get("dag", {}).get("tasks", {}).items()
    }
    for name, before in waits.items():
        if name.startswith(("gate-refused", "not-approved", "data-refused")):
            assert [one for one in before if one.startswith("record-refusal")], name


def test_steps_of_one_kind_get_the_same_settings(tmp_path: Path) -> None:
    raw = ACTS | {
        "deployment": {"router": "kserve", "kserve": {"captures": {"destination": "pvc://rows"}}},
        "monitoring": {"state": "pvc://watch", "retrain": "automatic"},
        "notify": {"cloudevents": "${secret:events/address}"},
        "cluster": {"resources": {"evaluate": {"memory": "9Gi"}}},
    }
    spec, platform = compiled(tmp_path, raw)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    claims: dict[str, set[str]] = {}
    secrets = set()
    for part in (spec["root"], *spec["components"].values()):
        for name, task in part.get("dag", {}).get("tasks", {}).items():
            label = spec["components"][task["componentRef"]["name"]].get("executorLabel", "")
            given = executors.get(label, {})
            step = re.sub(r"-\d+$", "", name)
            claims.setdefault(step, set()).update(
                one["constant"] for one in given.get("pvcMount", [])
            )
            if given.get("secretAsEnv"):
                secrets.add(step)
            if step == "evaluate":
                limit = spec["deploymentSpec"]["executors"][label]["container"]["resources"]
                assert limit["resourceMemoryLimit"] == "9Gi", name
    both = {"watch", "rows"}
    assert {step: found for step, found in claims.items() if found} == {
        "monitor": both, "intervene": both, "export-rows": both,
        "record-refusal": {"watch"}, "settle": {"watch"}, "ingest": {"watch"},
    }  # fmt: skip
    assert secrets == {"monitor", "intervene", "approve", "deploy"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deployment": {}}, "served on one machine"),
        ({"monitoring": {}}, "it is not said where its state is kept"),
        ({"monitoring": {"state": "/srv/monitor"}}, "it is not said where its state is kept"),
    ],
)
def test_what_cannot_be_watched_by_kubeflow_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        compiled(tmp_path, PLAIN | change)
