"""Component `evaluate`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train", cached=False)
def evaluate(
    holdout: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    baselines: dsl.Input[dsl.Model],
    evaluation: dsl.Output[dsl.Artifact],
    baseline: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    curves: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    name: str = "",
    options: dict = {},
    policy: dict = {},
    tracking_uri: str = "",
) -> None:
    """Measure a model on the holdout, beside the baselines and the champion on the same rows.

    Args:
        holdout: The part that `split` held out.
        model: The candidate.
        baselines: What `train` wrote beside it.
        name: Registered model whose champion is the one to beat; empty compares with none.
        options: Fields of the project file's `evaluation` section.
        policy: Fields of its `gate` section: whatever the rules ask about is measured.
        tracking_uri: MLflow store of the champion; empty takes MLFLOW_TRACKING_URI.
        evaluation: Evaluation record (JSON): metrics with intervals, and the candidate's advantage
            over each of the others; of a champion that cannot be compared, why. The gate reads it.
        baseline: Baseline record (JSON): counts of the scores, by class and by group, and how right
            they were. The monitor compares a served version with it; the evaluation has its digest.
        metrics: The candidate's metrics, for Kubeflow's run comparison.
        curves: ROC curve and confusion matrix, for Kubeflow's UI.
        report: All of it for people, with plots.

    Fails when:
        The dataset is not a holdout, or the registry does not answer.
    """
    import tempfile
    from pathlib import Path

    from penstock.evaluation.evaluate import evaluate as measure
    from penstock.evaluation.spec import EvaluationSpec
    from penstock.gate.policy import Policy

    with tempfile.TemporaryDirectory() as scratch:
        champion = None
        if name:
            from penstock.registry.champion import fetch_champion

            place = Path(scratch) / "champion"
            champion = fetch_champion(name, tracking_uri=tracking_uri, destination=place)
        judgement = measure(
            Path(holdout.path),
            model=Path(model.path),
            baselines=Path(baselines.path),
            champion=champion,
            policy=Policy.parse(policy, where="gate"),
            spec=EvaluationSpec.parse(options, where="evaluation"),
            output=Path(evaluation.path),
            report=Path(report.path),
            baseline=Path(baseline.path),
        )
    for metric, estimate in judgement.evaluation.candidate.metrics.items():
        metrics.log_metric(metric, estimate.value)
    if judgement.roc is not None:
        curves.log_roc_curve(*judgement.roc)
    if judgement.confusion is not None:
        curves.log_confusion_matrix(*judgement.confusion)
