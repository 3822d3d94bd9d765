"""Component `train`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train")
def train(
    train: dsl.Input[dsl.Dataset],
    features: dsl.Input[dsl.Artifact],
    proof: dsl.Input[dsl.Artifact],
    target: str,
    experiment: str,
    model: dsl.Output[dsl.Model],
    baselines: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    task: str = "auto",
    positive: str = "",
    options: dict = {},
    policy: dict = {},
    tracking_uri: str = "",
) -> None:
    """Train baselines, then search candidates by cross-validation, tracked in MLflow.

    A majority (or mean) and a linear baseline always come first. The model starts at the raw
    columns: the fitted features travel inside it.

    Args:
        train: The training part that `split` wrote.
        features: What `engineer_features` fitted on it.
        proof: The split record: its task; folds respect its time order or groups, and copies.
        target: The column to predict.
        experiment: MLflow experiment.
        task: binary, multiclass, regression, or auto.
        positive: Two classes: the one that is scored; empty takes 1, true or else the rarer.
        options: Fields of the project file's `training` section: candidates, trials, metric, and
            which engine scores the settings.
        policy: Fields of its `gate` section: the rule on cost, if any, sets the threshold.
        tracking_uri: MLflow store; empty takes the environment's MLFLOW_TRACKING_URI. An injected
            MLFLOW_RUN_ID is reused.
        model: MLflow model folder (skops) with penstock.json, and what is known of the rows that it
            learned from: label health, distributions, row hashes, the split.
        baselines: The baselines in the same form, one folder each.
        report: Leaderboard, and how the threshold was chosen.

    Fails when:
        The target is absent or constant, the features were fitted on other data, rows were changed
        after the split, MLflow does not answer, or the engine cannot be started.
    """
    from pathlib import Path

    from penstock.data.engine import opened
    from penstock.gate.policy import Policy
    from penstock.gate.rules import business_value
    from penstock.records.dataset import Split
    from penstock.training.spec import TrainingSpec
    from penstock.training.train import train as fit

    rules = Policy.parse(policy, where="gate")
    spec = TrainingSpec.parse(options, where="training")
    with opened(spec.engine) as each:
        record = fit(
            Path(train.path),
            features=Path(features.path),
            split=Split.read(Path(proof.path)),
            target=target,
            task=task,
            positive=positive,
            spec=spec,
            model=Path(model.path),
            baselines=Path(baselines.path),
            report=Path(report.path),
            experiment=experiment,
            tracking_uri=tracking_uri,
            value=business_value.RULE.of(rules),
            check=rules.check,
            each=each,
        )
    model.metadata.update(estimator=record.name, metric=record.metric, score=record.score)
