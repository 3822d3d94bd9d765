"""The project's own estimator as a family of the search: what the factory made, seed and space."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstock.errors import InputError, IntegrityError
from penstock.own_code.making import kind, make, reported
from penstock.records.model import OwnCode, Task
from penstock.training import spaces
from penstock.training.spaces import Space
from penstock.training.spec import RangeSpec, Searched, TrainingSpec

FIELD = "training.estimator"


@dataclass(frozen=True)
class OwnEstimator:
    """An estimator that the project's code makes.

    Args:
        reference: What the project file names.
        record: What a model says of it.
        made: What the factory returned, unfitted.
    """

    reference: str
    record: OwnCode
    made: Any

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters by name, those of its steps too (`step__name`)."""
        return dict(self.made.get_params(deep=True))

    def space(self, search: Mapping[str, Searched]) -> dict[str, Space]:
        """Return what is searched.

        Args:
            search: `training.search.own` of the project file.

        Raises:
            InputError: If the estimator has no such parameter.
        """
        known = self.parameters
        for name in search:
            if name not in known:
                raise InputError(
                    f"{self.reference} has no parameter {name!r}; it has "
                    f"{', '.join(sorted(known))}",
                    where="training.search.own",
                    remedy="Name one of these, or leave it out.",
                )
        return {
            name: spaces.declared(searched, whole=_is_whole(searched, default=known[name]))
            for name, searched in search.items()
        }

    def build(
        self,
        parameters: Mapping[str, Any],
        *,
        seed: int,
        class_weight: Literal["none", "balanced"] = "none",
    ) -> Any:
        """Return an unfitted estimator with a setting.

        Args:
            parameters: The setting.
            seed: For every `random_state` that the factory left at None.
            class_weight: `balanced` is set where the estimator has the parameter.

        Raises:
            InputError: If the estimator refuses the setting.
        """
        from sklearn.base import clone

        seeds = {
            name: seed
            for name, value in self.parameters.items()
            if value is None and name.rpartition("__")[2] == "random_state"
        }
        weight = {} if class_weight == "none" else {"class_weight": class_weight}
        with reported(self.reference, "set_params"):
            return clone(self.made).set_params(**{**seeds, **weight, **parameters})


def own_estimator(
    spec: TrainingSpec, *, task: Task, features: OwnCode | None = None
) -> OwnEstimator | None:
    """Return the estimator that a project file names; None if it names none.

    Args:
        spec: What the project says of the training.
        task: What is predicted.
        features: The code that made the features, where that is the project's own: a model carries
            one code.

    Raises:
        InputError: If its code is not there, cannot be imported or imports what is not installed,
            the factory raises, or what it returns is no estimator of scikit-learn's kind for the
            task.
        IntegrityError: If the code is not the one that the run was ordered with, or that made the
            features.
    """
    if not spec.estimator:
        return None
    made = make(spec.estimator, spec.code)
    if features is not None and features.digest != made.code.digest:
        raise IntegrityError(
            f"its code has the digest {made.code.digest}, that of features.transformer "
            f"{features.digest}",
            where=spec.estimator,
            remedy="Fit the features again; put both into one package, or give both code.packages.",
        )
    _require_estimator(made.made, spec.estimator, task=task)
    record = made.code.model_copy(update={"estimator": spec.estimator})
    own = OwnEstimator(spec.estimator, record, made.made)
    _require_settings(own, spec)
    return own


def reported_of(family: str, what: str) -> contextlib.AbstractContextManager[None]:
    """Return `reported` where a family is the project's own, else nothing."""
    return reported(FIELD, what) if family == "own" else contextlib.nullcontext()


def _require_estimator(made: Any, reference: str, *, task: Task) -> None:
    from sklearn.base import clone, is_classifier, is_regressor

    for method in ("fit", "predict", "get_params", "set_params"):
        if isinstance(made, type) or not callable(getattr(made, method, None)):
            raise InputError(
                f"it returns {kind(made)}, which has no {method}",
                where=reference,
                remedy="Return an unfitted estimator: derive it from sklearn.base.BaseEstimator.",
            )
    if task == "regression":
        if not is_regressor(made):
            raise InputError(
                f"it returns {kind(made)}, which is no regressor, for a regression",
                where=reference,
                remedy="Derive it from RegressorMixin and BaseEstimator, in this order.",
            )
    elif not is_classifier(made) or not callable(getattr(made, "predict_proba", None)):
        lacks = "is no classifier" if not is_classifier(made) else "has no predict_proba"
        raise InputError(
            f"it returns {kind(made)}, which {lacks}, for a {task} task",
            where=reference,
            remedy="Derive it from ClassifierMixin and BaseEstimator, in this order, and give it "
            "predict_proba.",
        )
    try:
        clone(made)
    except Exception as error:
        raise InputError(
            f"it returns {kind(made)}, which cannot be cloned: {error!s:.300}",
            where=reference,
            remedy="Let __init__ keep each argument as it is, under its own name.",
        ) from error


def _require_settings(own: OwnEstimator, spec: TrainingSpec) -> None:
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import has_fit_parameter

    if spec.class_weight != "none" and "class_weight" not in own.parameters:
        raise InputError(
            f"class_weight is {spec.class_weight!r}, and {own.reference} has no such parameter",
            where="training.class_weight",
            remedy="Leave it at none, or give the estimator class_weight.",
        )
    last = own.made.steps[-1][1] if isinstance(own.made, Pipeline) else own.made
    if spec.weights and not has_fit_parameter(last, "sample_weight"):
        raise InputError(
            f"rows are weighted, and {own.reference} takes no sample_weight in fit",
            where="training.weights",
            remedy="Leave it out, or let fit take sample_weight.",
        )
    own.space(spec.search.get("own", {}))


def _is_whole(searched: Searched, *, default: Any) -> bool:
    """Return whether a parameter takes whole numbers: Kubeflow hands 3 over as 3.0."""
    if isinstance(default, int) and not isinstance(default, bool):
        return True
    if default is not None:
        return False
    values = (
        (searched.low, searched.high)
        if isinstance(searched, RangeSpec)
        else (searched if isinstance(searched, tuple) else (searched,))
    )
    return all(isinstance(value, int | float) and float(value).is_integer() for value in values)
