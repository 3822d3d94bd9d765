"""What reads or changes the world outside is never taken from Kubeflow's cache, in any pipeline."""

import importlib
from pathlib import Path

import yaml
from kfp import compiler, dsl

from penstock.components.ingest import ingest
from penstock.components.validate import validate

COMPONENTS = Path(__file__).parents[2] / "components"
UNCACHED = {
    "ingest", "ingest_artifact", "evaluate", "probe_serving", "register", "approve", "deploy",
    "monitor", "score", "fail", "fetch_version", "notify", "intervene", "export_rows",
    "record_refusal", "settle", "retrieve_features",
}  # fmt: skip
CACHED = {"validate", "split", "hold_out", "engineer_features", "train", "decide", "explain"}


def allowed(path: Path) -> dict[str, bool]:
    """Return of each task of a compiled pipeline whether it may be taken from the cache."""
    tasks = yaml.safe_load(path.read_text())["root"]["dag"]["tasks"]
    return {name: bool(task["cachingOptions"].get("enableCache")) for name, task in tasks.items()}


def test_it_is_said_of_every_component() -> None:
    found = {path.stem for path in COMPONENTS.glob("[a-z]*.py")}
    assert found == UNCACHED | CACHED
    readme = (COMPONENTS / "README.md").read_text()
    for name in found:
        part = readme.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        assert ("**Caching:** off" in part) == (name in UNCACHED), name


def test_a_pipeline_of_ones_own_never_reuses_what_reads_the_world(tmp_path: Path) -> None:
    @dsl.pipeline
    def mine(uri: str) -> None:
        first = ingest(uri=uri).set_display_name("Mine")
        validate(dataset=first.outputs["dataset"])
        ingest(uri=uri).set_caching_options(True)

    compiler.Compiler().compile(mine, str(tmp_path / "mine.yaml"))
    assert allowed(tmp_path / "mine.yaml") == {"ingest": False, "validate": True, "ingest-2": True}


def test_a_component_that_is_compiled_alone_does_not_either(tmp_path: Path) -> None:
    for name in UNCACHED | CACHED:
        component = getattr(importlib.import_module(f"penstock.components.{name}"), name)
        compiler.Compiler().compile(component, str(tmp_path / f"{name}.yaml"))
        assert list(allowed(tmp_path / f"{name}.yaml").values()) == [name in CACHED], name
