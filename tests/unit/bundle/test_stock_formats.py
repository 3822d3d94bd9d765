"""A model repository for Triton says of the ONNX form what ONNX Runtime says of it."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from serving_process import ROW

from penstock.bundle.make import bundle
from penstock.errors import InputError
from penstock.pipelines import cli
from penstock.serving.loading import load_scorer
from penstock.serving.service import Service

EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
DATATYPES = {"TYPE_FP64": "tensor(double)", "TYPE_STRING": "tensor(string)",
             "TYPE_INT64": "tensor(int64)"}  # fmt: skip


def tritons_own_form() -> ModuleType:
    """The messages of Triton's model_config.proto, from its client, without the client's gRPC."""
    package = importlib.util.find_spec("tritonclient")
    assert package is not None
    (place,) = package.submodule_search_locations or []
    path = Path(place) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shapes(tensors: Any) -> dict[str, tuple[str, list[int]]]:
    """What Triton sends and takes for one row: datatype and shape by name."""
    form = tritons_own_form()
    return {
        one.name: (
            DATATYPES[form.DataType.Name(one.data_type)],
            list(one.reshape.shape) if one.HasField("reshape") else list(one.dims),
        )
        for one in tensors
    }


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_configuration_is_the_graphs(
    task: str, registered: Callable[..., Any], tmp_path: Path
) -> None:
    version, out = registered(task), tmp_path / "repository"
    command = ["bundle", "models:/adult@champion", "--form", "triton", "--out", str(out)]
    assert cli.main([*command, "--tracking-uri", version.store]) == 0
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        "adult/1/model.onnx", "adult/config.pbtxt", "adult/rules.json",
    ]  # fmt: skip
    text = (out / "adult" / "config.pbtxt").read_text()
    config = text_format.Parse(text, tritons_own_form().ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("adult", "onnxruntime", 8192)
    linear = json.loads((version.folder / "penstock.json").read_text())["name"] == "linear"
    assert config.HasField("dynamic_batching") is not linear
    session = onnxruntime.InferenceSession(str(out / "adult" / "1" / "model.onnx"))
    for tensors, own in (
        (config.input, session.get_inputs()),
        (config.output, session.get_outputs()),
    ):
        # The first axis is the rows, of any number: Triton leaves it out where it makes batches.
        assert all(not isinstance(one.shape[0], int) for one in own)
        assert shapes(tensors) == {one.name: (one.type, one.shape[1:]) for one in own}
    rules = json.loads((out / "adult" / "rules.json").read_text())
    assert {column["name"] for column in rules["columns"]} == set(ROW)


MISSING: dict[str, Any] = {"number": math.nan, "text": "(missing)", "time": -(2**63)}
MEANING: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "number": (np.float64, float),
    "text": (object, str),
    "time": (np.int64, lambda text: (datetime.fromisoformat(text) - EPOCH) // MICROSECOND),
}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_client_that_feeds_it_as_the_page_says_gets_the_servers_bits(
    task: str,
    registered: Callable[..., Any],
    many_instances: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    version, out = registered(task), tmp_path / "repository"
    bundle("models:/adult@champion", output=out, tracking_uri=version.store, form="triton")
    text = (out / "adult" / "config.pbtxt").read_text()
    config = text_format.Parse(text, tritons_own_form().ModelConfig())
    threads = {name: int(value.string_value) for name, value in config.parameters.items()}
    assert threads == {"intra_op_thread_count": 1, "inter_op_thread_count": 1}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads["intra_op_thread_count"]
    options.inter_op_num_threads = threads["inter_op_thread_count"]
    session = onnxruntime.InferenceSession(
        str(out / "adult" / "1" / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    rows = [*many_instances, dict.fromkeys(ROW), ROW | {"job": "a level nobody saw"}]
    rules = json.loads((out / "adult" / "rules.json").read_text())
    given: dict[str, list[Any]] = {}
    for column in rules["columns"]:
        form, meaning = MEANING[column["kind"]]
        values = (row[column["name"]] for row in rows)
        said = [MISSING[column["kind"]] if v is None else meaning(v) for v in values]
        given.setdefault(column["input"], []).append(np.array(said, dtype=form))
    (scores,) = session.run(["scores"], {name: np.stack(g, axis=1) for name, g in given.items()})
    scorer = load_scorer(version.folder, digest=rules["digest"], export=version.digest)
    request = json.dumps({"instances": rows}).encode()
    answer = json.loads(
        Service(scorer=scorer, name="adult", version="1").predict(request, "v1").body
    )
    if task == "binary":
        positive = rules["classes"].index(rules["positive"])
        assert scores.tolist() == [pair[positive] for pair in answer["probabilities"]]
        labels = np.where(scores >= rules["threshold"], positive, 1 - positive)
        assert [rules["classes"][at] for at in labels] == answer["predictions"]
        return
    assert scores.tolist() == answer["predictions" if task == "regression" else "probabilities"]


def test_a_version_without_an_onnx_form_has_no_repository(
    registered: Callable[..., Any], tmp_path: Path
) -> None:
    version = registered(onnx=False)
    with pytest.raises(InputError, match="the version has no ONNX form"):
        bundle(
            "models:/adult@champion",
            output=tmp_path / "out",
            tracking_uri=version.store,
            form="triton",
        )
    assert not (tmp_path / "out").exists()
