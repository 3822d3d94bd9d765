"""Component `engineer_features`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train")
def engineer_features(
    train: dsl.Input[dsl.Dataset],
    proof: dsl.Input[dsl.Artifact],
    target: str,
    features: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    options: dict = {},
) -> None:
    """Fit the feature transformer on the training part alone.

    Kinds are inferred (number, category, boolean, datetime, text) unless declared. The fitted
    object is the one that ends up inside the model, so training and serving cannot differ.

    Args:
        train: The training part that `split` wrote.
        proof: The split record; the column that groups were split by never becomes a feature.
        target: The column to predict; it never becomes a feature.
        options: Fields of the project file's `features` section: kinds of columns, and which engine
            reads the training part.
        features: The fitted transformer (skops) and features.json.
        report: What became of each column, and why.

    Fails when:
        No usable column is left, or a declared kind does not fit its column; the engine
        cannot be started.
    """
    from pathlib import Path

    from penstock.data.engine import opened
    from penstock.features.fit import fit_features
    from penstock.features.spec import FeaturesSpec
    from penstock.records.dataset import Split

    spec = FeaturesSpec.parse(options, where="features")
    with opened(spec.engine) as each:
        fit_features(
            Path(train.path),
            target=target,
            split=Split.read(Path(proof.path)),
            spec=spec,
            output=Path(features.path),
            report=Path(report.path),
            each=each,
        )
