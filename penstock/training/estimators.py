"""The families of estimators: their default settings, what is searched, how they are built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import InputError
from penstock.records.model import Task
from penstock.training import spaces
from penstock.training.spaces import Number, OneOf, Space, Steps, Whole
from penstock.training.spec import PARAMETERS, CandidateName, EarlyStoppingSpec, Searched

if TYPE_CHECKING:
    from optuna.trial import Trial

    from penstock.training.own_estimator import OwnEstimator

TREES = 100
"""Trees of a forest."""

FOREST_BYTES = 200_000_000
"""Room that the trees of a forest of many classes may take: four are fitted at once, and the winner
is stored, sent and served."""

_NODE_BYTES = 64

ClassWeight = Literal["none", "balanced"]
Parameters = Mapping[str, bool | int | float | str | None]

Form = Literal["float64", "float32", "scaled"]
"""How an estimator is given features; scaled: doubles after the steps before the model."""

SIMPLEST_FIRST: tuple[CandidateName, ...] = (
    "linear",
    "hist_gradient_boosting",
    "lightgbm",
    "xgboost",
    "extra_trees",
    "random_forest",
    "own",
)
"""Of two families that score the same the one named first wins: a smaller and faster model."""


@dataclass(frozen=True)
class Family:
    """What is known of a family for one task.

    Args:
        defaults: The setting of its first trial, by its library's parameter names.
        space: What is searched, by the same names.
    """

    defaults: Parameters
    space: Mapping[str, Space]


Overrides = Mapping[CandidateName, Mapping[str, Searched]]


def family(
    name: CandidateName,
    *,
    task: Task,
    search: Overrides | None = None,
    own: OwnEstimator | None = None,
) -> Family:
    """Return a family's defaults and search space for a task. docs/training.md has them all.

    Args:
        name: The family.
        task: What is predicted.
        search: What a project file searches instead, `training.search`. Its first trial has the
            default where that is in the range, and what is nearest to it otherwise.
        own: The estimator of the family `own`.

    Raises:
        InputError: If the family has another parameter for this task.
    """
    changed = dict((search or {}).get(name, {}))
    if name == "own":
        assert own is not None, "the family `own` has an estimator"
        return _first_of(own.space(changed), own.parameters)
    known = _FAMILIES[name](task)
    if name == "linear" and changed.keys() - known.space.keys():
        (other,) = known.space
        raise InputError(
            f"a linear model of a {task} task is searched over {other} alone",
            where="training.search.linear",
            remedy=f"Give {other}, or nothing.",
        )
    space = {
        **known.space,
        **{
            parameter: spaces.declared(searched, whole=PARAMETERS[name][parameter])
            for parameter, searched in changed.items()
        },
    }
    return _first_of(space, known.defaults)


def _first_of(space: Mapping[str, Space], defaults: Mapping[str, Any]) -> Family:
    """Return a space with the setting that its search begins with."""
    return Family({key: spaces.nearest(space[key], defaults.get(key)) for key in space}, space)


def suggest(trial: Trial, name: CandidateName, space: Mapping[str, Space]) -> dict[str, Any]:
    """Let Optuna choose a setting of a family."""
    return {
        parameter: spaces.suggest(trial, f"{name}.{parameter}", one)
        for parameter, one in space.items()
    }


def distinct(parameters: Parameters, *, widths: Sequence[int]) -> tuple[tuple[str, object], ...]:
    """Return what identifies a setting: of few features several shares are one number.

    Args:
        parameters: A setting of a family.
        widths: How many features the estimator is given, in each fold.
    """
    known: dict[str, object] = dict(parameters)
    share = known.get("max_features")
    if share is not None:
        known["max_features"] = tuple(_features(share, width) for width in widths)
    return tuple(known.items())


def _features(share: object, width: int) -> int:
    """Return how many features scikit-learn's forests look at for each split."""
    if share == "sqrt":
        return max(1, int(math.sqrt(width)))
    if share == "log2":
        return max(1, int(math.log2(width)))
    return max(1, int(float(str(share)) * width))


def default_trial(name: CandidateName, known: Family) -> dict[str, Any]:
    """Return a family's default setting as Optuna would have to propose it for `suggest`."""
    return {
        f"{name}.{parameter}": spaces.as_proposed(space, known.defaults[parameter])
        for parameter, space in known.space.items()
    }


def form(name: str) -> Form:
    """Return what a family is given: forests round to 32 bits themselves, so they get these.

    Boosting and the linear models compute with doubles: of rounded numbers they would learn other
    thresholds and weights than serving, which gives them doubles, compares with.
    """
    if name in ("random_forest", "extra_trees"):
        return "float32"
    return "scaled" if name == "linear" else "float64"


def build(
    name: CandidateName,
    parameters: Parameters,
    *,
    task: Task,
    seed: int,
    class_weight: ClassWeight = "none",
    most_leaves: int | None = None,
    early_stopping: EarlyStoppingSpec | None = None,
    own: OwnEstimator | None = None,
) -> Any:
    """Return an unfitted estimator that takes features with NaN where a number is missing.

    Args:
        name: The family.
        parameters: A setting of it.
        task: A regression gets the family's regressor.
        seed: Seeds whatever is drawn at random.
        class_weight: Classification: `balanced` weighs rows by the rarity of their class.
        most_leaves: What `most_leaves` returns for the rows and classes.
        early_stopping: Of `xgboost` and `lightgbm`, where the setting has no `n_estimators`.
        own: The estimator of the family `own`.

    Raises:
        MissingLibraryError: If the family's library is not installed.
    """
    if name == "own":
        assert own is not None, "the family `own` has an estimator"
        return own.build(parameters, seed=seed, class_weight=class_weight)
    if name in ("xgboost", "lightgbm"):
        return _learner(
            name, task, parameters, seed, class_weight, early_stopping or EarlyStoppingSpec()
        )
    if most_leaves is not None and name in ("random_forest", "extra_trees"):
        parameters = {**parameters, "max_leaf_nodes": most_leaves}
    weight = {} if task == "regression" else {"class_weight": _WEIGHTS[class_weight]}
    return _BUILDERS[name](task, {**parameters, **weight}, seed)


def check_installed(names: Sequence[CandidateName]) -> None:
    """Refuse families whose library is not there, before anything is fitted.

    Raises:
        MissingLibraryError: If one is not installed.
    """
    from penstock.training.boosting.learner import library

    for name in names:
        if name in ("xgboost", "lightgbm"):
            library(name)


def most_leaves(*, rows: int, classes: int) -> int | None:
    """Return how many leaves each tree of a forest may have; None: as many as it grows.

    Every node holds a share of each class. A full tree of a hundred classes has a leaf for every
    few rows: a hundred of those take gigabytes. Two classes and a regression grow full trees.

    Args:
        rows: Of the training part.
        classes: Of the target; 0 for a regression.
    """
    leaves = FOREST_BYTES // (TREES * 2 * (_NODE_BYTES + 8 * max(classes, 1)))
    return None if classes <= 2 or rows <= leaves else leaves


_WEIGHTS = {"none": None, "balanced": "balanced"}


def _linear_family(task: Task) -> Family:
    if task == "regression":
        return Family({"alpha": 1.0}, {"alpha": _quarters(-3, 3)})
    return Family({"C": 1.0}, {"C": _quarters(-3, 2)})


def _quarters(low: int, high: int) -> Steps:
    """Return the powers of ten between two exponents, and three numbers between each two."""
    mantissas = ("1", "1.8", "3.2", "5.6")
    between = [float(f"{m}e{power}") for power in range(low, high) for m in mantissas]
    return Steps((*between, float(f"1e{high}")))


def _boosting_family(task: Task) -> Family:
    # Each round of boosting grows one tree a class.
    rounds = Whole(20, 80) if task == "multiclass" else Whole(30, 120)
    return Family(
        {
            "learning_rate": 0.1,
            "max_iter": 50 if task == "multiclass" else 100,
            "max_leaf_nodes": 31,
            "min_samples_leaf": 20,
            "l2_regularization": 0.001,
        },
        {
            "learning_rate": Number(0.03, 0.3, log=True),
            "max_iter": rounds,
            "max_leaf_nodes": Whole(6, 48),
            "min_samples_leaf": Whole(3, 100),
            "l2_regularization": Number(1e-3, 10.0, log=True),
        },
    )


_XGBOOST = Family(
    {
        "learning_rate": 0.1,
        "max_depth": 6,
        "min_child_weight": 1.0,
        "subsample": 0.9,
        "colsample_bytree": 0.9,
        "reg_lambda": 1.0,
    },
    {
        "learning_rate": Number(0.03, 0.3, log=True),
        "max_depth": Whole(2, 9, log=False),
        "min_child_weight": Number(0.1, 30.0, log=True),
        "subsample": Number(0.5, 1.0),
        "colsample_bytree": Number(0.4, 1.0),
        "reg_lambda": Number(0.01, 30.0, log=True),
    },
)


_LIGHTGBM = Family(
    {
        "learning_rate": 0.1,
        "num_leaves": 31,
        "min_child_samples": 20,
        "subsample": 0.9,
        "colsample_bytree": 0.9,
        "reg_lambda": 0.01,
    },
    {
        "learning_rate": Number(0.03, 0.3, log=True),
        "num_leaves": Whole(6, 96),
        "min_child_samples": Whole(3, 100),
        "subsample": Number(0.5, 1.0),
        "colsample_bytree": Number(0.4, 1.0),
        "reg_lambda": Number(0.001, 30.0, log=True),
    },
)


def _forest_family(task: Task) -> Family:
    shares = (0.3, 0.6, 1.0) if task == "regression" else ("sqrt", "log2", 0.2)
    return Family(
        {"max_features": 0.6 if task == "regression" else "sqrt", "min_samples_leaf": 2},
        {"max_features": OneOf(shares), "min_samples_leaf": Whole(1, 20)},
    )


def _linear(task: Task, parameters: Parameters, seed: int) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    if task == "regression":
        model: Any = Ridge(**parameters, random_state=seed)
    else:
        model = LogisticRegression(**parameters, max_iter=1000, random_state=seed)
    # What precedes the model may depend on no parameter: it is fitted once for all settings.
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    return Pipeline([("impute", impute), ("scale", StandardScaler()), ("model", model)])


def _boosting(task: Task, parameters: Parameters, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    # Early stopping would set rows aside; the number of rounds is searched instead.
    return kind(**parameters, early_stopping=False, random_state=seed)


def _learner(
    name: CandidateName,
    task: Task,
    parameters: Parameters,
    seed: int,
    class_weight: ClassWeight,
    early_stopping: EarlyStoppingSpec,
) -> Any:
    from penstock.training.boosting.learner import Learner, library

    library(name)
    setting = dict(parameters)
    rounds = setting.pop("n_estimators", None)
    return Learner(
        name,
        task,
        setting,
        rounds=None if rounds is None else int(str(rounds)),
        most_rounds=early_stopping.most_trees,
        patience=early_stopping.patience,
        balanced=class_weight == "balanced",
        seed=seed,
    )


def _random_forest(task: Task, parameters: Parameters, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    return kind(**{"n_estimators": TREES, **parameters}, random_state=seed)


def _extra_trees(task: Task, parameters: Parameters, seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    kind = ExtraTreesRegressor if task == "regression" else ExtraTreesClassifier
    return kind(**{"n_estimators": TREES, **parameters}, random_state=seed)


_FAMILIES: dict[CandidateName, Callable[[Task], Family]] = {
    "linear": _linear_family,
    "hist_gradient_boosting": _boosting_family,
    "random_forest": _forest_family,
    "extra_trees": _forest_family,
    "xgboost": lambda _: _XGBOOST,
    "lightgbm": lambda _: _LIGHTGBM,
}

_BUILDERS: dict[CandidateName, Callable[[Task, Parameters, int], Any]] = {
    "linear": _linear,
    "hist_gradient_boosting": _boosting,
    "random_forest": _random_forest,
    "extra_trees": _extra_trees,
}
