"""Train: baselines first, then a search, then the best setting on the whole training part."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock import tracking
from penstock.common import files
from penstock.common.progress import say
from penstock.data.engine import Each, here
from penstock.metrics.business_value import DecisionValue
from penstock.model.own_metric import use_metric
from penstock.records.dataset import Split
from penstock.records.model import Model, OwnCode
from penstock.records.recipe import FILE_NAME as RECIPE
from penstock.training import environment, estimators, own_check
from penstock.training.baselines import (
    constant_estimator,
    constant_name,
    constant_threshold,
    mean_of_all,
)
from penstock.training.crossval import Attempt, CrossValidation, Evaluated
from penstock.training.fitting import constrained
from penstock.training.folds import make_folds
from penstock.training.inputs import Problem, read_problem
from penstock.training.label_noise import training_health
from penstock.training.lineage import write_lineage
from penstock.training.own_code import needed_by, own_code
from penstock.training.own_estimator import OwnEstimator, own_estimator, reported_of
from penstock.training.plan import Plan, PolicyCheck, plan_of
from penstock.training.preparing import fit_whole
from penstock.training.recipe import recipe_of
from penstock.training.report import Outcome, remarks, render, search_notes
from penstock.training.saving import carried_rows, save_model
from penstock.training.search import run_search
from penstock.training.spec import TrainingSpec
from penstock.training.threshold import Gains, best_threshold
from penstock.training.tracker import Tracker, common_tags

if TYPE_CHECKING:
    from penstock.training.calibrating import Calibrator


def train(
    train: Path,
    *,
    features: Path,
    target: str,
    task: str,
    positive: str,
    spec: TrainingSpec,
    model: Path,
    baselines: Path,
    report: Path,
    experiment: str,
    tracking_uri: str = "",
    split: Split | None = None,
    value: DecisionValue | None = None,
    check: PolicyCheck | None = None,
    each: Each = here,
) -> Model:
    """Train baselines and the best model that the search finds, tracked in MLflow.

    Everything is chosen by cross-validation on the training part; the holdout is not looked at.
    The same input gives the same model, on any number of cores.

    Args:
        train: The training part.
        features: What `penstock.features.fit.fit_features` wrote for it.
        target: The column to predict.
        task: `binary`, `multiclass`, `regression`, or `auto`.
        positive: Two classes: the one that is scored; empty takes 1, true or else the rarer.
        spec: Candidates, budget, metric, threshold.
        model: Folder to make: an MLflow model with `penstock.json`, and what is known of the rows
            it learned from; see `penstock.training.lineage`.
        baselines: Folder to make: `majority` (or `mean`) and `linear`, in the same form.
        report: HTML file to write.
        experiment: MLflow experiment.
        tracking_uri: MLflow store; empty takes `MLFLOW_TRACKING_URI`.
        split: How the holdout was cut off: the folds respect its time order or its groups.
        value: What decisions are worth, by the gate's policy; it sets the threshold.
        check: What refuses, before anything is fitted, a policy that cannot judge this training:
            `penstock.gate.policy.Policy.check`.
        each: The engine that scores the settings of the search; the model is the same with every
            engine.

    Returns:
        The model's record.

    Raises:
        InputError: If the data, the metric or a setting does not fit the task; nothing is written.
        IntegrityError: If the features were fitted on other data, or the rows are not the ones that
            the training part's record names.
        ServiceError: If MLflow does not answer (before the search starts), or workers die.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    problem = read_problem(
        train,
        features=features,
        target=target,
        task=task,
        positive=positive,
        split=split,
        weights=spec.weights,
        monotonic=spec.monotonic,
        folds=spec.folds,
        max_rows=spec.max_rows,
        seed=spec.seed,
    )
    code = own_code(problem, spec)
    use_metric(code)
    if code is not None:
        # It is known in this process alone.
        each = here
    own = own_estimator(spec, task=problem.task)
    plan = plan_of(problem, spec, train=train, value=value, check=check)
    store = tracking.client(tracking_uri)
    with (
        files.whole_folder(baselines) as baselines_beside,
        files.whole_folder(model) as model_beside,
        # Sums in linear algebra depend in their last digits on the number of threads.
        threadpool_limits(1),
        warnings.catch_warnings(),
        tracking.run(store, experiment=experiment, name=f"train {target}") as run_id,
    ):
        # A linear model that stopped early is scored as it is, like any other setting.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if own is not None:
            own_check.check(own, problem, seed=spec.seed, class_weight=spec.class_weight)
        tags = common_tags(dataset=problem.dataset, target=target)
        tracker = Tracker(store, run_id, metric=plan.metric, common=tags)
        training = _Training(
            problem, plan, spec=spec, tracker=tracker, run_id=run_id, each=each, own=own, code=code
        )
        outcome = training.run(model=model_beside, baselines=baselines_beside)
        others = [c.name for c in problem.dataset.columns if c.name != target]
        health = training_health(
            problem,
            outcome.search.best,
            linear=outcome.linear,
            read=partial(problem.read, names=others),
        )
        write_lineage(
            model_beside,
            train=train,
            dataset=problem.dataset,
            split=split,
            health=health,
            target=target,
            rows=problem.rows,
            hashes=spec.carry_rows,
        )
        recipe = recipe_of(spec, features=features, positive=positive, value=value)
        recipe.write(model_beside / RECIPE)
        files.write_text(report, render(outcome))
    best = outcome.search.best.attempt
    say(
        f"{best.family}: {plan.metric.name} {best.mean:.4f} ± {best.deviation:.4f} in "
        f"cross-validation, best of {len(outcome.search.attempts)} setting(s)"
        + (f"; {problem.sample.short}" if problem.sample is not None else "")
    )
    return outcome.record


class _Training:
    """One training between its parts: what is fitted, on what, and where it is logged."""

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        *,
        spec: TrainingSpec,
        tracker: Tracker,
        run_id: str,
        each: Each,
        own: OwnEstimator | None,
        code: OwnCode | None,
    ) -> None:
        self._own = own
        self._own_code = code
        self._problem = problem
        self._plan = plan
        self._spec = spec
        self._tracker = tracker
        self._run_id = run_id
        self._each = each
        self._commit = environment.commit()
        folds, self._notes = make_folds(problem, folds=spec.folds.number, seed=spec.seed)
        threshold = 0.5 if plan.threshold is None else plan.threshold
        self._validation = CrossValidation(problem, folds, plan.metric, threshold, seed=spec.seed)
        self._carried = carried_rows(problem)

    def run(self, *, model: Path, baselines: Path) -> Outcome:
        """Fit and write the baselines, search, fit and write the winner."""
        constant, linear = self._baselines(baselines)
        search = run_search(
            self._validation,
            spec=self._spec,
            first=linear,
            done=self._log_attempt,
            each=self._each,
            own=self._own,
        )
        self._validation.forget()
        calibrator = None
        if self._spec.calibration != "none":
            from penstock.training.calibrating import fit_calibrator

            calibrator = fit_calibrator(
                self._validation, search.best, method=self._spec.calibration, seed=self._spec.seed
            )
        best = search.best if calibrator is None else calibrator.of(search.best)
        threshold, reached = self._threshold(best)
        estimator = estimators.build(
            best.attempt.family,  # type: ignore[arg-type]
            best.attempt.parameters,
            task=self._problem.task,
            seed=self._spec.seed,
            class_weight=self._spec.class_weight,
            most_leaves=self._problem.most_leaves,
            early_stopping=self._spec.early_stopping,
            own=self._own,
        )
        record = self._save(
            model,
            estimator,
            best.attempt,
            threshold=threshold,
            run_id=self._run_id,
            calibrator=calibrator,
        )
        self._tracker.parent(best.attempt, parameters=self._parameters(record))
        return Outcome(
            record=record,
            baselines=(constant.attempt, linear.attempt),
            linear=linear,
            search=search,
            metric=self._plan.metric,
            folds=len(self._validation.folds),
            rows=len(self._problem.y),
            features=self._problem.columns.fitted.width,
            objective=self._plan.objective,
            reached=reached,
            truth=self._problem.truth[best.rows],
            predictions=best.predictions,
            gains=self._gains(best),
            unit=self._plan.unit,
            repeats=self._problem.repeats_text,
            notes=(
                *remarks(self._problem),
                *self._notes,
                *search_notes(self._problem, search, self._spec),
            ),
            trials=self._spec.trials,
        )

    def _baselines(self, folder: Path) -> tuple[Evaluated, Evaluated]:
        task, name = self._problem.task, constant_name(self._problem.task)
        defaults = estimators.family("linear", task=task, search=self._spec.search).defaults
        linear_model = estimators.build(
            "linear",
            defaults,
            task=task,
            seed=self._spec.seed,
            class_weight=self._spec.class_weight,
        )
        # The linear default is also the first setting of the search: it is scored once.
        constant = self._validation.evaluate(
            constant_estimator(task), number=0, family=name, parameters={}
        )
        linear = self._validation.evaluate(
            linear_model, number=1, family="linear", parameters=defaults
        )
        # The matrix of a fold need not be held beside that of all rows.
        self._validation.forget()
        run_id = self._tracker.nested(constant.attempt, name=f"baseline: {name}")
        self._save(
            folder / name,
            constant_estimator(task),
            constant.attempt,
            threshold=constant_threshold(task),
            run_id=run_id,
            fitted=mean_of_all(self._problem),
        )
        run_id = self._tracker.nested(linear.attempt, name="baseline: linear")
        self._save(
            folder / "linear",
            linear_model,
            linear.attempt,
            threshold=self._threshold(linear)[0],
            run_id=run_id,
        )
        return constant, linear

    def _log_attempt(self, attempt: Attempt) -> None:
        if attempt.complete and attempt.number > 1:
            self._tracker.nested(attempt, name=f"{attempt.number}: {attempt.family}")

    def _threshold(self, evaluated: Evaluated) -> tuple[float | None, float | None]:
        if self._plan.objective is None:
            return self._plan.threshold, None
        return best_threshold(
            self._problem.truth[evaluated.rows],
            evaluated.predictions,
            objective=self._plan.objective,
            gains=self._gains(evaluated),
        )

    def _gains(self, evaluated: Evaluated) -> Gains | None:
        """Return what the rows held out of the folds are worth."""
        if self._plan.gains is None:
            return None
        if_positive, if_negative = self._plan.gains
        return if_positive[evaluated.rows], if_negative[evaluated.rows]

    def _save(
        self,
        folder: Path,
        estimator: Any,
        attempt: Attempt,
        *,
        threshold: float | None,
        run_id: str,
        calibrator: Calibrator | None = None,
        fitted: Any = None,
    ) -> Model:
        problem = self._problem
        record = Model(
            name=attempt.family,
            task=problem.task,
            target=problem.target,
            classes=problem.classes,
            class_rows=problem.class_rows,
            sample=problem.sample,
            folds=self._problem.fold_rule.recorded(len(self._validation.folds)),
            calibration=None if calibrator is None else calibrator.record,
            positive=problem.positive,
            threshold=threshold,
            abstention=self._plan.abstention,
            columns=problem.inputs,
            reading=problem.reading(),
            metric=self._plan.metric.name,
            score=attempt.mean,
            parameters=dict(attempt.parameters),
            dataset=problem.dataset.content,
            table=problem.dataset.version,
            seed=self._spec.seed,
            commit=self._commit,
            libraries=environment.libraries(attempt.family),
            trusted_types=(),
            mlflow_run=run_id,
            carries_rows=self._spec.carry_rows,
            code=needed_by(attempt.family, self._own_code),
        )
        features = problem.columns.fitted
        estimator = constrained(estimator, problem.monotonic, width=features.width)
        booster = None
        if fitted is None:
            form = estimators.form(attempt.family)
            with reported_of(attempt.family, "fitting it on all rows"):
                fitted, booster = fit_whole(
                    estimator, features, problem.y, form=form, weights=problem.weights
                )
            own_check.check_whole(self._own, attempt.family, fitted, problem)
        if calibrator is not None:
            fitted = calibrator.around(fitted)
        return save_model(
            folder,
            transformer=problem.transformer,
            estimator=fitted,
            record=record,
            carried=self._carried,
            booster=booster,
        )

    def _parameters(self, record: Model) -> dict[str, Any]:
        return {
            "task": record.task,
            "target": record.target,
            "metric": record.metric,
            "trials": self._spec.trials,
            "folds": len(self._validation.folds),
            "fold_kind": self._problem.fold_rule.kind,
            "seed": record.seed,
            "class_weight": self._spec.class_weight,
            "candidates": ", ".join(self._spec.candidates),
            **({"estimator": self._own.reference} if self._own is not None else {}),
            "family": record.name,
            **({} if record.threshold is None else {"threshold": record.threshold}),
            **record.parameters,
        }
