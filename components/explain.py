"""Component `explain`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train")
def explain(
    model: dsl.Input[dsl.Model],
    holdout: dsl.Input[dsl.Dataset],
    explanation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    rows: int = 2000,
    seed: int = 20,
) -> None:
    """Explain which columns a model's predictions depend on, on holdout rows.

    Permutation importance and SHAP values of the raw columns, partial dependence of the most
    important ones, and three rows explained. SHAP values are exact for linear models and for trees
    of ordinary size. The three rows are real ones: whoever may read the artifacts reads them.

    Args:
        model: The model.
        holdout: The part that `split` held out.
        rows: How many rows are drawn from it, at most.
        seed: Of all draws; the same inputs give the same record.
        explanation: Explanation record (JSON), with the distribution of each column's SHAP values,
            against which attribution drift can be measured later.
        metrics: Mean absolute SHAP value by column, for Kubeflow's run comparison.
        report: All of it for people, with plots.

    Fails when:
        The holdout lacks a column that the model takes or the target, or the model folder is not
        whole or not trusted.
    """
    from pathlib import Path

    from penstock.explanation.explain import explain as work_out

    found = work_out(
        Path(holdout.path),
        model=Path(model.path),
        output=Path(explanation.path),
        report=Path(report.path),
        rows=rows,
        seed=seed,
    )
    for importance in found.importances:
        metrics.log_metric(importance.column, importance.attribution)
