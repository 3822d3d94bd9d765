"""The project's own code of a training: one digest for its transformer, estimator and metric."""

from __future__ import annotations

from collections.abc import Collection

from penstock.errors import IntegrityError
from penstock.own_code import importing, libraries
from penstock.own_code.project_code import code_of
from penstock.own_code.reference import Reference
from penstock.records.model import OwnCode, OwnMetric
from penstock.training.inputs import Problem
from penstock.training.spec import TrainingSpec


def own_code(problem: Problem, spec: TrainingSpec) -> OwnCode | None:
    """Return the code that the models of a training carry; None if the project has none.

    A metric of the project's own is known afterwards.

    Args:
        problem: Whose features may have been made by the project's own transformer.
        spec: What names an estimator and a metric.

    Raises:
        InputError: If the code is not there, cannot be imported or imports what is not installed,
            or the metric has the name of one of Penstock's.
        IntegrityError: If it is not the one that the run was ordered with, or that made the
            features.
    """
    metric = spec.own_metric
    named = [Reference.of(text) for text in (spec.estimator, metric.function) if text]
    features = problem.features.code
    if not named:
        return features
    sources = code_of(named, spec.code)
    require_same(features, sources.digest, named=named)
    code = OwnCode(
        digest=sources.digest,
        files=tuple(sources.files),
        libraries=libraries.libraries_of(sources),
        estimator=spec.estimator,
        transformer="" if features is None else features.transformer,
    )
    if not metric.function:
        return code
    importing.adopt(sources)
    return code.model_copy(
        update={
            "metric": OwnMetric(
                function=metric.function,
                greater_is_better=metric.greater_is_better,
                given=metric.given,
            )
        }
    )


def needed_by(family: str, code: OwnCode | None) -> OwnCode | None:
    """Return what a model of a family carries: the estimator is the family `own` alone."""
    if code is None or family == "own":
        return code
    others = code.model_copy(update={"estimator": ""})
    return others if others.transformer or others.metric else None


def require_same(features: OwnCode | None, digest: str, *, named: Collection[Reference]) -> None:
    """Return only if the code that made the features is the one that trains: a model carries one.

    Raises:
        IntegrityError: If it has another digest.
    """
    if features is None or features.digest == digest:
        return
    raise IntegrityError(
        f"the code has the digest {digest}, that of features.transformer {features.digest}",
        where=", ".join(map(str, named)),
        remedy="Fit the features again; put all of it into one package, or give both sections "
        "code.packages.",
    )
