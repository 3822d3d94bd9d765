"""A fitted pipeline as one ONNX model that takes the raw columns and calculates in doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.export.errors import NotConvertibleError
from penstock.model import positive_index, scoring_part
from penstock.records.export import Input
from penstock.records.model import Model

if TYPE_CHECKING:
    from penstock.export._graph import Graph


def convert(pipeline: Any, record: Model) -> tuple[bytes, tuple[Input, ...]]:
    """Return the ONNX form of a fitted pipeline, and where it takes each raw column from.

    Its only output, `scores`, is what `penstock.model.LoadedModel.scores` returns. Nothing in it
    is rounded to float32 but what the estimator itself rounds: the features that forests take, and
    those, the leaves and the sums of XGBoost.

    Args:
        pipeline: A fitted pipeline, as `penstock.training.saving` puts it together.
        record: Its record: columns, task, classes, positive class.

    Raises:
        NotConvertibleError: If a part of it has no exact form here; the
            message names the part.
    """
    from penstock.export._features import features
    from penstock.export._graph import Graph

    transformer, estimator = (step for _, step in scoring_part(pipeline).steps)
    graph = Graph(record.columns)
    value = features(graph, transformer)
    scores = _estimator(graph, estimator, value, record)
    if record.task == "multiclass":
        return graph.finish(scores, shape=[None, len(record.classes)]), graph.inputs
    import numpy as np

    flat = graph.node("Squeeze", scores, graph.constant(np.array([1])))
    return graph.finish(flat, shape=[None]), graph.inputs


def _estimator(graph: Graph, fitted: Any, value: str, record: Model) -> str:
    name = type(fitted).__name__
    _refuse_own(fitted)
    if name == "Pipeline":
        from penstock.export._linear import impute, scale

        steps = {"SimpleImputer": impute, "StandardScaler": scale}
        *before, (_, last) = fitted.steps
        for _, step in before:
            _refuse_own(step)
            kind = type(step).__name__
            if kind not in steps:
                raise NotConvertibleError(f"{kind} has no ONNX form here")
            value = steps[kind](graph, step, value)
        return _estimator(graph, last, value, record)
    if name not in _ESTIMATORS:
        raise NotConvertibleError(f"{name} has no ONNX form here")
    return _ESTIMATORS[name](graph, fitted, value, record)


def _refuse_own(fitted: Any) -> None:
    """Refuse a class that only has the name of one that is known, or derives from it."""
    if type(fitted).__module__.partition(".")[0] not in ("sklearn", "penstock"):
        kind = type(fitted).__name__
        raise NotConvertibleError(f"{kind} is of the project's own code, which has no ONNX form")


def _linear(graph: Graph, fitted: Any, value: str, record: Model) -> str:
    from penstock.export._linear import decision

    return _probabilities(graph, decision(graph, fitted, value), record)


def _boosting(graph: Graph, fitted: Any, value: str, record: Model) -> str:
    from penstock.export._trees import boosted, ensemble, read

    if record.task == "regression" and fitted.loss not in ("squared_error", "absolute_error"):
        raise NotConvertibleError(f"boosting with the loss {fitted.loss!r} has no ONNX form here")
    found = read(fitted)
    total = ensemble(graph, boosted(found.trees), value, outputs=len(found.offset))
    baseline = graph.constant(found.offset.reshape(1, -1))
    return _probabilities(graph, graph.node("Add", total, baseline), record)


def _boosted(graph: Graph, fitted: Any, value: str, record: Model) -> str:
    import numpy as np
    from onnx import TensorProto

    from penstock.export._trees import boosted, ensemble, offsets, read

    found = read(fitted)
    if found.reads is np.float32:
        value = graph.node("Cast", value, to=TensorProto.FLOAT)
    # The offset is the first tree: added at the end, it would give other last digits.
    trees = [*offsets(found.offset), *boosted(found.trees)]
    total = ensemble(graph, trees, value, outputs=len(found.offset), number=found.adds)
    return _probabilities(graph, graph.double(total), record)


def _probabilities(graph: Graph, raw: str, record: Model) -> str:
    """Return what raw values mean: logit of the second class, logits of all, or the value."""
    import numpy as np

    if record.task == "regression":
        return raw
    if record.task == "multiclass":
        return graph.node("Softmax", raw, axis=1)
    second = graph.node("Sigmoid", raw)
    if positive_index(record) == 1:
        return second
    return graph.node("Sub", graph.constant(np.float64(1)), second)


def _forest(graph: Graph, fitted: Any, value: str, record: Model) -> str:
    import numpy as np
    from onnx import TensorProto

    from penstock.export._trees import averaged, ensemble, numbered, read

    # scikit-learn's forests look at float32 features, and compare them with float64 thresholds.
    value = graph.double(graph.node("Cast", value, to=TensorProto.FLOAT))
    trees = read(fitted).trees
    count = graph.constant(np.float64(len(trees)))
    if record.task != "multiclass":
        output = positive_index(record) if record.task == "binary" else 0
        total = ensemble(graph, averaged(trees, output=output), value, outputs=1)
        return graph.node("Div", total, count)
    addends, values = numbered(trees)
    places = ensemble(graph, addends, value, outputs=len(trees))
    found = graph.node(
        "Gather", graph.constant(values), graph.node("Cast", places, to=TensorProto.INT64), axis=0
    )
    total = graph.node("ReduceSum", found, graph.constant(np.array([1])), keepdims=0)
    return graph.node("Div", total, count)


_ESTIMATORS = {
    "BoostedClassifier": _boosted,
    "BoostedRegressor": _boosted,
    "LogisticRegression": _linear,
    "Ridge": _linear,
    "HistGradientBoostingClassifier": _boosting,
    "HistGradientBoostingRegressor": _boosting,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
}
"""The families of `penstock.training.estimators`, by the names of their fitted classes."""
