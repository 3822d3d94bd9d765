"""The fitted features as part of a graph. Imported only inside functions that convert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from penstock.export._graph import ML, Graph
from penstock.export._times import calendar
from penstock.export.errors import NotConvertibleError
from penstock.features.own_transformer import GROUP
from penstock.records.export import MISSING_TEXT


def features(graph: Graph, fitted: Any) -> str:
    """Add what a fitted `ColumnTransformer` does; return its output, float64 of shape (n, d)."""
    from sklearn.compose import ColumnTransformer

    if not isinstance(fitted, ColumnTransformer):
        raise _unknown(fitted)
    if fitted.transformer_weights:
        raise NotConvertibleError("a ColumnTransformer with weights has no ONNX form here")
    if any(group == GROUP for group, _, _ in fitted.transformers_):
        raise NotConvertibleError("a transformer of the project's own code has no ONNX form")
    blocks = [
        _block(graph, part, [str(name) for name in names])
        for _, part, names in fitted.transformers_
        if not (isinstance(part, str) and part == "drop")
    ]
    return graph.beside([block for block in blocks if block])


def _block(graph: Graph, fitted: Any, names: Sequence[str]) -> str:
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

    from penstock.features.transformers import DatetimeParts

    if not names:
        return ""
    foreign = [name for name in names if name not in graph.types]
    if foreign:
        raise NotConvertibleError(f"a transformer takes {foreign[0]!r}, which is no raw column")
    if isinstance(fitted, FunctionTransformer) and fitted.func is None:
        return graph.raw("number", names)
    if isinstance(fitted, DatetimeParts):
        return calendar(graph, graph.raw("time", names), fitted.parts)
    encoder = _without_missing_level(fitted)
    if isinstance(encoder, OneHotEncoder):
        return _one_hot(graph, encoder, names)
    raise _unknown(fitted)


def _without_missing_level(fitted: Any) -> Any:
    """Return the step behind a `MissingLevel`, which the graph's texts have gone through already.

    Missing texts come to the graph as the very text that it replaces them by.
    """
    from sklearn.pipeline import Pipeline

    from penstock.features.transformers import MissingLevel

    if not isinstance(fitted, Pipeline) or len(fitted.steps) != 2:
        return fitted
    first, second = (step for _, step in fitted.steps)
    return second if isinstance(first, MissingLevel) and first.level == MISSING_TEXT else fitted


def _unknown(part: Any) -> NotConvertibleError:
    from penstock.features.transformers import HashedWords

    if isinstance(part, HashedWords):
        return NotConvertibleError(
            "words of a text are counted by their hash, which has no ONNX form"
        )
    return NotConvertibleError(f"{type(part).__name__} has no ONNX form here")


def _one_hot(graph: Graph, encoder: Any, names: Sequence[str]) -> str:
    if encoder.drop is not None:
        raise NotConvertibleError("a OneHotEncoder that drops a level has no ONNX form here")
    few = getattr(encoder, "infrequent_categories_", None) or [None] * len(names)
    if encoder.handle_unknown == "ignore" and all(levels is None for levels in few):
        shared = False
    elif encoder.handle_unknown == "infrequent_if_exist":
        shared = True
    else:
        raise NotConvertibleError(
            f"a OneHotEncoder with handle_unknown={encoder.handle_unknown!r} has no ONNX form here"
        )
    kept = [_frequent(*pair) for pair in zip(encoder.categories_, few, strict=True)]
    rest = [shared and levels is not None for levels in few]
    if all(graph.types[name] == "string" for name in names):
        return _texts_one_hot(graph, names, kept, rest)
    if any(graph.types[name] in ("string", "datetime") for name in names):
        raise NotConvertibleError("a OneHotEncoder over text and numbers has no ONNX form here")
    return graph.beside(
        [
            _codes_one_hot(graph, graph.raw("number", [name]), np.array(levels, np.float64), other)
            for name, levels, other in zip(names, kept, rest, strict=True)
        ]
    )


def _frequent(levels: np.ndarray, few: np.ndarray | None) -> list[Any]:
    """Return the levels that have a column of their own, in the order of the columns."""
    rare = [] if few is None else [_key(level) for level in few]
    return [level for level in levels.tolist() if _key(level) not in rare]


def _key(level: Any) -> Any:
    return "nan" if isinstance(level, float) and level != level else level


def _texts_one_hot(
    graph: Graph, names: Sequence[str], kept: Sequence[Sequence[str | None]], rest: Sequence[bool]
) -> str:
    """Number the levels of all columns through; where a column's number is, there is its 1."""
    numbers, owners, outputs = [], [], 0
    for index, (name, levels, other) in enumerate(zip(names, kept, rest, strict=True)):
        keys = [MISSING_TEXT if level is None else level for level in levels]
        width = len(keys) + other
        numbers.append(
            graph.node(
                "LabelEncoder",
                graph.text(name),
                domain=ML,
                keys_strings=keys or [""],
                values_int64s=[outputs + i for i in range(len(keys))] or [outputs],
                # What has no column of its own: the shared one, which is the last, or none.
                default_int64=outputs + len(keys) if other else -1,
            )
        )
        owners += [index] * width
        outputs += width
    spread = graph.columns(graph.beside(numbers), owners)
    here = graph.node("Equal", spread, graph.constant(np.arange(outputs, dtype=np.int64)[None]))
    return graph.double(here)


def _codes_one_hot(graph: Graph, value: str, levels: np.ndarray, other: bool) -> str:
    """Return one column for each level of a number, and one for the others where there is one."""
    here = graph.node("Equal", value, graph.constant(levels[None]))
    missing = np.isnan(levels)
    if missing.any():
        # NaN equals nothing, not even itself.
        own = graph.node("And", graph.node("IsNaN", value), graph.constant(missing[None]))
        here = graph.node("Or", here, own)
    hot = graph.double(here)
    if not other:
        return hot
    total = graph.node("ReduceSum", hot, graph.constant(np.array([1])), keepdims=1)
    return graph.beside([hot, graph.node("Sub", graph.constant(np.float64(1)), total)])
