"""An ONNX graph under construction. Imported only inside functions that convert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper

from penstock.export.errors import NotConvertibleError
from penstock.model.onnx import OUTPUT
from penstock.records.dataset import Column, ColumnType
from penstock.records.export import Input

ML = "ai.onnx.ml"
OPSETS = {"": 21, ML: 5}
"""ai.onnx.ml 5 is the first whose trees give doubles; ONNX Runtime has run both since 1.22."""

IR_VERSION = 10

KINDS: dict[ColumnType, str] = {
    "integer": "number",
    "number": "number",
    "boolean": "number",
    "string": "text",
    "datetime": "time",
}
_TYPES = {
    "number": TensorProto.DOUBLE,
    "text": TensorProto.STRING,
    "time": TensorProto.INT64,
}


class Graph:
    """Nodes and constants, added in the order of the calculation.

    A value in the graph goes by its name. All matrices have rows first.

    Args:
        columns: The raw columns that the graph takes.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._texts: list[str] = []
        self._of_kind: dict[str, list[str]] = {}
        self.types = {column.name: column.type for column in columns}
        for column in columns:
            self._of_kind.setdefault(KINDS[column.type], []).append(column.name)
        self.inputs = tuple(
            Input(
                column=column.name,
                kind=KINDS[column.type],
                name=_input(KINDS[column.type]),
                index=self._of_kind[KINDS[column.type]].index(column.name),
            )
            for column in columns
        )

    def constant(self, values: Any) -> str:
        """Add a constant, of the type that numpy gives it; return its name."""
        name = f"k{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output; return the output's name."""
        return self.nodes(operator, *inputs, outputs=1, domain=domain, **attributes)[0]

    def nodes(
        self, operator: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add an operator; return the names of its outputs."""
        names = [f"v{len(self._nodes)}_{i}" for i in range(outputs)]
        self._nodes.append(
            helper.make_node(operator, inputs, names, domain=domain or None, **attributes)
        )
        return names

    def double(self, value: str) -> str:
        """Return `value` as float64."""
        return self.node("Cast", value, to=TensorProto.DOUBLE)

    def columns(self, value: str, indices: Sequence[int]) -> str:
        """Return the columns of a matrix at `indices`."""
        return self.node("Gather", value, self.constant(np.array(indices, np.int64)), axis=1)

    def beside(self, values: Sequence[str]) -> str:
        """Return matrices put beside one another."""
        return values[0] if len(values) == 1 else self.node("Concat", *values, axis=1)

    def raw(self, kind: str, names: Sequence[str]) -> str:
        """Return raw columns of one kind, as a matrix in the order of `names`."""
        known = self._of_kind[kind]
        for name in names:
            if KINDS[self.types[name]] != kind:
                raise NotConvertibleError(
                    f"a {self.types[name]} column where a {kind} is needed",
                    where=f"column {name!r}",
                )
        whole = _input(kind)
        return whole if list(names) == known else self.columns(whole, [*map(known.index, names)])

    def text(self, name: str) -> str:
        """Return one column of text, shape (n, 1)."""
        known = self._of_kind["text"]
        if not self._texts:
            whole = _input("text")
            count = len(known)
            self._texts = (
                [whole]
                if count == 1
                else self.nodes("Split", whole, outputs=count, axis=1, num_outputs=count)
            )
        return self._texts[known.index(name)]

    def finish(self, scores: str, *, shape: Sequence[int | None]) -> bytes:
        """Return the model that gives `scores` (float64, of this shape) as its output.

        Args:
            scores: The output of the node that was added last.
            shape: Its shape; None for the number of rows.
        """
        assert list(self._nodes[-1].output) == [scores]
        self._nodes[-1].output[0] = OUTPUT
        graph = helper.make_graph(
            self._nodes,
            "penstock",
            [
                helper.make_tensor_value_info(_input(kind), _TYPES[kind], [None, len(names)])
                for kind, names in self._of_kind.items()
            ],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.DOUBLE, shape)],
            self._constants,
        )
        built = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(*item) for item in OPSETS.items()],
            ir_version=IR_VERSION,
            producer_name="penstock",
        )
        try:
            return bytes(built.SerializeToString(deterministic=True))
        except (EncodeError, ValueError) as error:
            raise NotConvertibleError(
                "the model is larger than the 2 GB that an ONNX file holds"
            ) from error


def _input(kind: str) -> str:
    return f"{kind}s"
