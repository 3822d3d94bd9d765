"""What a data scientist would write without Penstock: one script, one process, the same libraries.

Reads a CSV, checks the same Great Expectations expectations, splits, one-hot encodes, scores two
baselines, searches with Optuna over the same families and folds with as many settings, draws
plots, bootstraps the primary metric, logs to MLflow, registers, and asks a kserve model for one
answer.
It writes no digests, decisions or HTML reports and starts no server.

Usage: bare_release.py TABLE.csv PROJECT.yaml OUTPUT_FOLDER SETTINGS ROWS.npz

ROWS.npz has the numbers of the rows to learn from (`train`) and to judge on (`holdout`): with rows
of its own its score could not be compared. It prints one line of JSON: the winner and its score.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

warnings.simplefilter("ignore")
os.environ["GX_ANALYTICS_ENABLED"] = "false"

SEED, FOLDS = 20, 4
TRUSTED = [
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
]


def main() -> None:
    """Run everything and print the winner and its score on the holdout."""
    table, project, output = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    settings = yaml.safe_load(project.read_text())
    frame = read(table)
    validate(frame, settings["expectations"])

    truth = (frame.pop(settings["target"]) == settings["positive"]).to_numpy().astype(int)
    rows = np.load(sys.argv[5])
    x_train, x_test = (frame.iloc[rows[part]].copy() for part in ("train", "holdout"))
    y_train, y_test = (truth[rows[part]] for part in ("train", "holdout"))
    model, best, trials, linear = search(x_train, y_train, settings=int(sys.argv[4]))
    x_test = filled(x_test)
    scores = model.predict_proba(x_test)[:, 1]
    low, high = bootstrap(y_test, scores, linear.predict_proba(x_test)[:, 1])
    plots(y_test, scores, output)
    register(model, trials, filled(x_train), output)
    serve(model, x_test.head(20))
    from sklearn.metrics import roc_auc_score

    print(
        json.dumps(
            {
                "winner": best,
                "train_rows": len(y_train),
                "holdout_rows": len(y_test),
                "roc_auc": float(roc_auc_score(y_test, scores)),
                "advantage": [low, high],
            }
        )
    )


def read(table: Path) -> pd.DataFrame:
    """Return the table with its missing values."""
    return pd.read_csv(table, skipinitialspace=True, na_values=["?"], encoding="utf-8")


def filled(x: pd.DataFrame) -> pd.DataFrame:
    """Return the features with a level for what is missing of a text."""
    texts = list(x.select_dtypes("object"))
    return x.assign(**{name: x[name].fillna("(missing)") for name in texts})


def encoder_of(x: pd.DataFrame) -> Any:
    """Return an unfitted encoder: one column a level of at least 0.2 % of the rows."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    levels = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=0.002, sparse_output=False
    )
    texts = list(x.select_dtypes("object"))
    return ColumnTransformer([("text", levels, texts)], remainder="passthrough")


def validate(frame: pd.DataFrame, expectations: list[dict[str, Any]]) -> None:
    """Check the expectations with Great Expectations."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    suite = gx.ExpectationSuite(
        name="bare",
        expectations=[
            {"type": e["type"], "kwargs": e["kwargs"], "severity": e["severity"]}
            for e in expectations
        ],
    )
    batch = (
        context.data_sources.add_pandas("p")
        .add_dataframe_asset("a")
        .add_batch_definition_whole_dataframe("b")
        .get_batch({"dataframe": frame})
    )
    result = batch.validate(suite)
    critical = [r for r in result.results if r.expectation_config.severity == "critical"]
    assert all(r.success for r in critical)


def search(
    x: pd.DataFrame, y: np.ndarray, *, settings: int
) -> tuple[Any, dict[str, Any], list[dict[str, Any]], Any]:
    """Return the best model, its settings, what was tried, and the linear baseline."""
    import optuna
    from sklearn.dummy import DummyClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    x = filled(x)
    encoder = encoder_of(x)
    from sklearn.base import clone

    folds = []
    for inside, outside in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(x, y):
        fitted = clone(encoder).fit(x.iloc[inside])
        folds.append(
            (
                fitted.transform(x.iloc[inside]),
                y[inside],
                fitted.transform(x.iloc[outside]),
                y[outside],
            )
        )
    tried: list[dict[str, Any]] = []

    def score(estimator: Any, trial: Any = None) -> float:
        values: list[float] = []
        for step, (x_in, y_in, x_out, y_out) in enumerate(folds):
            model = clone(estimator).fit(x_in, y_in)
            values.append(roc_auc_score(y_out, model.predict_proba(x_out)[:, 1]))
            if trial is not None and step < FOLDS - 1:
                trial.report(float(np.mean(values)), step)
                if trial.should_prune():
                    raise optuna.TrialPruned
        tried.append(
            {"params": estimator.get_params(deep=False), "roc_auc": float(np.mean(values))}
        )
        return float(np.mean(values))

    def objective(trial: Any) -> float:
        return score(propose(trial), trial)

    score(DummyClassifier(strategy="prior"))
    linear = linear_model(1.0)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=SEED, n_startup_trials=8),
        pruner=optuna.pruners.PercentilePruner(33.3, n_startup_trials=3),
    )
    for start in STARTS:
        study.enqueue_trial(start)
    study.optimize(objective, n_trials=settings)
    features = encoder.fit(x)
    best = propose(optuna.trial.FixedTrial(study.best_params)).fit(features.transform(x), y)
    linear.fit(features.transform(x), y)
    model = make_pipeline(features, best)
    return model, study.best_params, tried, make_pipeline(features, linear)


STARTS: list[dict[str, Any]] = [
    {"family": "linear", "linear.C": 1.0},
    {
        "family": "boosting",
        "boosting.learning_rate": 0.1,
        "boosting.max_iter": 100,
        "boosting.max_leaf_nodes": 31,
        "boosting.min_samples_leaf": 20,
        "boosting.l2_regularization": 0.001,
    },
    {"family": "forest", "forest.max_features": "sqrt", "forest.min_samples_leaf": 2},
]


def propose(trial: Any) -> Any:
    """Return the estimator that Optuna asks for: the families and ranges of docs/training.md."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    family = trial.suggest_categorical("family", ["linear", "boosting", "forest"])
    if family == "linear":
        return linear_model(trial.suggest_float("linear.C", 1e-3, 1e2, log=True))
    if family == "boosting":
        return HistGradientBoostingClassifier(
            learning_rate=trial.suggest_float("boosting.learning_rate", 0.03, 0.3, log=True),
            max_iter=trial.suggest_int("boosting.max_iter", 30, 120, log=True),
            max_leaf_nodes=trial.suggest_int("boosting.max_leaf_nodes", 6, 48, log=True),
            min_samples_leaf=trial.suggest_int("boosting.min_samples_leaf", 3, 100, log=True),
            l2_regularization=trial.suggest_float(
                "boosting.l2_regularization", 1e-3, 10.0, log=True
            ),
            early_stopping=False,
            random_state=SEED,
        )
    return RandomForestClassifier(
        max_features=trial.suggest_categorical("forest.max_features", ["sqrt", "log2", 0.2]),
        min_samples_leaf=trial.suggest_int("forest.min_samples_leaf", 1, 20, log=True),
        n_estimators=100,
        n_jobs=-1,
        random_state=SEED,
    )


def linear_model(strength: float) -> Any:
    """Return a scaled logistic regression."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        StandardScaler(),
        LogisticRegression(C=strength, max_iter=1000),
    )


def bootstrap(truth: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the difference in ROC AUC over 1,000 paired resamples."""
    draw = np.random.default_rng(SEED)
    weights = draw.multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=1000)

    def auc(scores: np.ndarray) -> np.ndarray:
        order = np.argsort(scores)
        w, t = weights[:, order], truth[order]
        below = np.cumsum(w * (1 - t), axis=1)
        return (w * t * (below - w * (1 - t) / 2)).sum(1) / ((w * t).sum(1) * below[:, -1])

    low, high = np.percentile(auc(ours) - auc(theirs), [2.5, 97.5])
    return float(low), float(high)


def plots(truth: np.ndarray, scores: np.ndarray, output: Path) -> None:
    """Draw what one looks at."""
    from matplotlib.figure import Figure
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import precision_recall_curve, roc_curve

    output.mkdir(parents=True, exist_ok=True)
    for name, (x, y, *_) in {
        "roc": roc_curve(truth, scores),
        "pr": precision_recall_curve(truth, scores)[1::-1],
        "calibration": calibration_curve(truth, scores, n_bins=10)[::-1],
    }.items():
        figure = Figure()
        figure.subplots().plot(x, y)
        figure.savefig(output / f"{name}.svg")


def register(model: Any, trials: list[dict[str, Any]], x: pd.DataFrame, output: Path) -> None:
    """Log every trial, save the model as skops and register it."""
    import mlflow
    import mlflow.sklearn
    from mlflow import MlflowClient
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(f"sqlite:///{output / 'mlflow.db'}")
    mlflow.create_experiment("bare", artifact_location=str(output / "artifacts"))
    mlflow.set_experiment("bare")
    example = x.head(5)
    with mlflow.start_run():
        for trial in trials:
            with mlflow.start_run(nested=True):
                mlflow.log_params(trial["params"])
                mlflow.log_metric("roc_auc", trial["roc_auc"])
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format="skops",
            skops_trusted_types=TRUSTED,
            signature=infer_signature(example, model.predict(example)),
            input_example=example,
            pip_requirements=["scikit-learn"],
        )
        version = mlflow.register_model(info.model_uri, "bare")
    MlflowClient().set_registered_model_alias("bare", "champion", str(version.version))


def serve(model: Any, rows: pd.DataFrame) -> None:
    """Ask a kserve model, in this process, about some rows."""
    import kserve

    class Served(kserve.Model):  # type: ignore[misc]
        def predict(self, payload: dict[str, Any], headers: Any = None) -> dict[str, Any]:  # noqa: ARG002
            instances = pd.DataFrame(payload["instances"]).fillna("(missing)")
            return {"predictions": model.predict(instances).tolist()}

    assert len(Served("bare").predict({"instances": rows.to_dict("records")})["predictions"]) == 20


if __name__ == "__main__":
    main()
