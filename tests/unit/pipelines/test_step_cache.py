"""What an earlier run made is taken again only where everything that decides it is the same."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from penstock.data.table import write_dataset
from penstock.pipelines import step_cache
from penstock.pipelines.local_runner import import_kfp
from penstock.pipelines.step_cache import StepCache, StepCall, cacheable

ENVIRONMENT = {"HOME": "/home/ada", "MLFLOW_TRACKING_URI": "sqlite:///a.db", "PENSTOCK_HOME": "/h"}


@pytest.fixture
def step(tmp_path: Path) -> Callable[..., StepCall]:
    """`step(run)` is a call whose outputs go into that run; it reads one file and one dataset."""

    def make(run: str, **changes: Any) -> StepCall:
        inputs = tmp_path / run / "before"
        if not inputs.exists():
            inputs.mkdir(parents=True)
            (inputs / "features").write_text("fitted")
            table = pa.table({"a": [1, 2, 3]})
            write_dataset([table], output=inputs / "dataset", source="a test")
        artifacts = {
            name: {"artifacts": [{"name": name, "uri": str(inputs / name), "metadata": {}}]}
            for name in ("features", "dataset")
        }
        call = StepCall(
            function="train",
            source="def train(): ...",
            arguments=(),
            inputs={"parameterValues": {"options": {"trials": 2}}, "artifacts": artifacts},
            folder=tmp_path / run / "train",
        )
        return replace(call, **changes)

    return make


def made(call: StepCall, *, text: str = "a model") -> StepCall:
    """Write what the step writes."""
    (call.folder / "model").mkdir(parents=True)
    (call.folder / "model" / "weights").write_text(text)
    outputs = {"uri": str(call.folder / "model")}
    (call.folder / "executor_output.json").write_text(json.dumps(outputs))
    return call


def cache(tmp_path: Path, run: str, **changes: Any) -> StepCache:
    return StepCache(tmp_path / "home", **({"run": run, "steps": {"train"}} | changes))


def take(made_by: StepCache, call: StepCall, environment: Mapping[str, str] = ENVIRONMENT) -> Any:
    note = made_by.note_of(call, environment)
    return note and made_by.take(call, note)


def keep(made_by: StepCache, call: StepCall, *, lines: list[str]) -> None:
    note = made_by.note_of(call, ENVIRONMENT)
    assert note
    made_by.keep(call, note, lines=lines)


def kept(tmp_path: Path, step: Callable[..., StepCall]) -> None:
    keep(cache(tmp_path, "one"), made(step("one")), lines=["penstock| good"])


def test_the_same_step_is_taken_again_whole_and_in_its_own_place(
    tmp_path: Path, step: Callable[..., StepCall]
) -> None:
    kept(tmp_path, step)
    again = step("two")
    found = take(cache(tmp_path, "two"), again, ENVIRONMENT | {"PENSTOCK_HOME": "/other"})
    assert found is not None
    assert (found.run, found.lines) == ("one", ("penstock| good",))
    assert (again.folder / "model" / "weights").read_text() == "a model"
    outputs = json.loads((again.folder / "executor_output.json").read_text())
    assert outputs == {"uri": str(again.folder / "model")}


def test_a_later_run_stands_without_the_earlier_ones(
    tmp_path: Path, step: Callable[..., StepCall]
) -> None:
    kept(tmp_path, step)
    assert take(cache(tmp_path, "two"), step("two"), ENVIRONMENT)
    shutil.rmtree(tmp_path / "one")
    found = take(cache(tmp_path, "three"), step("three"), ENVIRONMENT)
    assert found is not None
    assert found.run == "one"


def test_nothing_is_taken_where_it_is_not_allowed(
    tmp_path: Path, step: Callable[..., StepCall]
) -> None:
    kept(tmp_path, step)
    assert take(cache(tmp_path, "two", fresh=True), step("two"), ENVIRONMENT) is None
    assert take(cache(tmp_path, "two", steps={"split"}), step("two"), ENVIRONMENT) is None


@pytest.mark.parametrize(
    "change",
    [
        {"source": "def train(): return 1"},
        {"function": "other"},
        {"inputs": {"parameterValues": {"options": {"trials": 3}}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_step_is_not_taken(
    tmp_path: Path, step: Callable[..., StepCall], change: dict[str, Any]
) -> None:
    kept(tmp_path, step)
    steps = {"train", "other"}
    assert take(cache(tmp_path, "two", steps=steps), step("two", **change), ENVIRONMENT) is None


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "PENSTOCK_SIGNING_KEY"])
def test_variables_that_penstock_and_mlflow_read_count(
    tmp_path: Path, step: Callable[..., StepCall], variable: str
) -> None:
    kept(tmp_path, step)
    assert take(cache(tmp_path, "two"), step("two"), ENVIRONMENT | {variable: "x"}) is None
    assert take(cache(tmp_path, "two"), step("two"), ENVIRONMENT | {"LANG": "C"}) is not None


@pytest.mark.parametrize("part", ["_code", "_libraries"])
def test_other_code_or_libraries_count(
    tmp_path: Path, step: Callable[..., StepCall], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(tmp_path, step)
    monkeypatch.setattr(step_cache, part, lambda: "another")
    assert take(cache(tmp_path, "two"), step("two"), ENVIRONMENT) is None


def test_the_code_is_that_of_every_module_of_penstock() -> None:
    roots = list(step_cache._roots())
    files = {path.name for root in roots for path in root.rglob("*.py")}
    assert {"train.py", "release.py", "step_cache.py", "digest.py", "_image.py"} <= files


def test_content_counts_and_not_the_address(tmp_path: Path, step: Callable[..., StepCall]) -> None:
    kept(tmp_path, step)
    other = step("two")
    (tmp_path / "two" / "before" / "features").write_text("fitted otherwise")
    assert take(cache(tmp_path, "two"), other, ENVIRONMENT) is None


@pytest.mark.parametrize(
    ("values", "taken"), [([1, 2, 3], True), ([1, 2, 4], False), ([3, 2, 1], False)]
)
def test_a_dataset_counts_by_its_rows_in_their_order_and_not_by_its_time(
    tmp_path: Path, step: Callable[..., StepCall], values: list[int], taken: bool
) -> None:
    kept(tmp_path, step)
    other = step("two")
    shutil.rmtree(tmp_path / "two" / "before" / "dataset")
    table = pa.table({"a": values})
    write_dataset([table], output=tmp_path / "two" / "before" / "dataset", source="a test")
    assert bool(take(cache(tmp_path, "two"), other, ENVIRONMENT)) is taken


@pytest.mark.parametrize("damage", ["changed", "added", "gone", "all gone"])
def test_outputs_that_do_not_hold_any_more_are_made_again(
    tmp_path: Path, step: Callable[..., StepCall], damage: str
) -> None:
    kept(tmp_path, step)
    weights = tmp_path / "one" / "train" / "model" / "weights"
    if damage == "changed":
        weights.write_text("another model")
    elif damage == "added":
        weights.with_name("more").write_text("")
    elif damage == "gone":
        weights.unlink()
    else:
        shutil.rmtree(tmp_path / "one")
    again = step("two")
    assert take(cache(tmp_path, "two"), again, ENVIRONMENT) is None
    assert not again.folder.exists() or not any(again.folder.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"run": "one"}', '{"lines": 3}'])
def test_a_note_that_cannot_be_read_is_no_note(
    tmp_path: Path, step: Callable[..., StepCall], text: str
) -> None:
    kept(tmp_path, step)
    (note,) = (tmp_path / "home" / "steps").iterdir()
    note.write_text(text)
    assert take(cache(tmp_path, "two"), step("two"), ENVIRONMENT) is None


def with_policy(call: StepCall, policy: dict[str, Any]) -> StepCall:
    values = {**call.inputs["parameterValues"], "policy": policy}
    return replace(call, inputs={**call.inputs, "parameterValues": values})


COST = {"matrix": {"true_positive": 50, "false_positive": -5}}


@pytest.mark.parametrize(
    ("function", "policy", "taken"),
    [
        ("train", {"baseline": {"margin": 0.1}}, True),
        ("train", {"cost": COST}, False),
        ("train", {"no such rule": 1}, False),
        ("decide", {"baseline": {"margin": 0.1}}, False),
    ],
)
def test_training_reads_only_the_rule_on_cost(
    tmp_path: Path,
    step: Callable[..., StepCall],
    function: str,
    policy: dict[str, Any],
    taken: bool,
) -> None:
    steps = {"train", "decide"}
    first = made(with_policy(step("one", function=function), {}))
    keep(cache(tmp_path, "one", steps=steps), first, lines=[])
    again = with_policy(step("two", function=function), policy)
    assert bool(take(cache(tmp_path, "two", steps=steps), again, ENVIRONMENT)) is taken


def test_only_steps_that_read_nothing_outside_are_taken_again() -> None:
    import_kfp()
    from penstock.pipelines.release import release

    assert cacheable(release.pipeline_spec) == {
        "validate", "split", "engineer_features", "train", "decide", "explain",
    }  # fmt: skip


def test_a_reuse_that_fails_halfway_is_none(
    tmp_path: Path, step: Callable[..., StepCall], capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path, step)
    (tmp_path / "one" / "train" / "more").symlink_to(tmp_path / "gone")
    again = step("two")
    assert take(cache(tmp_path, "two"), again) is None
    # Nothing of it lies about for the step that runs now.
    assert list(again.folder.iterdir()) == []
    assert "The step train is run again, for what was kept" in capsys.readouterr().out


def test_a_full_disk_while_outputs_are_copied_is_no_reuse(
    tmp_path: Path, step: Callable[..., StepCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(tmp_path, step)

    # A disk cannot be filled in a test.
    def full(_: Path, folder: Path, **__: Any) -> None:
        (folder / "half").write_text("...")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    again = step("two")
    assert take(cache(tmp_path, "two"), again) is None
    assert list(again.folder.iterdir()) == []


def test_what_cannot_be_kept_is_not_kept_and_said(
    tmp_path: Path, step: Callable[..., StepCall], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "steps").write_text("a file where the notes belong")
    keep(cache(tmp_path, "one"), made(step("one")), lines=[])
    said = capsys.readouterr().out
    assert said.startswith("The step train cannot be reused by a later run, for it cannot be kept")
    assert take(cache(tmp_path, "two"), step("two")) is None
