"""`config.pbtxt` of a model's ONNX form, in Triton's model repository.

Its fields: https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from penstock.model.onnx import OUTPUT
from penstock.records.export import Input
from penstock.records.model import Model

FILE_NAME = "config.pbtxt"

MOST_ROWS = 8192
"""Rows of a request, or of several that Triton answers together."""

_TYPES = {"number": "TYPE_FP64", "text": "TYPE_STRING", "time": "TYPE_INT64"}


def config(name: str, *, record: Model, inputs: Sequence[Input]) -> str:
    """Return the configuration, as protobuf's text format has it.

    Rows of several requests are answered together where that leaves each row's bits as they are,
    which a linear model does not.

    Args:
        name: The model's, and its folder's in the repository.
        record: Task, classes and family.
        inputs: Of the graph.
    """
    widths = Counter((one.name, one.kind) for one in inputs)
    fields = [
        f"name: {json.dumps(name, ensure_ascii=False)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {MOST_ROWS}",
        *(
            _tensor("input", name, _TYPES[kind], f"dims: [ {width} ]")
            for (name, kind), width in widths.items()
        ),
        _tensor("output", OUTPUT, "TYPE_FP64", _scores(record)),
        "instance_group [ { kind: KIND_CPU } ]",
        *(
            f'parameters {{ key: "{threads}" value: {{ string_value: "1" }} }}'
            for threads in ("intra_op_thread_count", "inter_op_thread_count")
        ),
    ]
    if record.name != "linear":
        fields.append("dynamic_batching { }")
    return "\n".join(fields) + "\n"


def _tensor(kind: str, name: str, of_type: str, shape: str) -> str:
    return f'{kind} [ {{ name: "{name}" data_type: {of_type} {shape} }} ]'


def _scores(record: Model) -> str:
    """Return the shape of a row's scores; the graph has no axis for a single one."""
    if record.task == "multiclass":
        return f"dims: [ {len(record.classes)} ]"
    return "dims: [ 1 ] reshape: { shape: [ ] }"
