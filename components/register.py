"""Component `register`."""

from kfp import dsl

from penstock.components._image import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def register(
    model: dsl.Input[dsl.Model],
    decision: dsl.Input[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact],
    holdout: dsl.Input[dsl.Dataset],
    name: str,
    registration: dsl.Output[dsl.Artifact],
    tracking_uri: str = "",
    pipeline_run: str = "",
) -> None:
    """Register a model that a decision approves, as the challenger, with its ONNX form.

    The ONNX form is what the model server answers with: the whole pipeline from the raw columns.
    It is compared with the model on every row of the holdout, and kept only if labels are equal
    and probabilities agree within 1e-9; otherwise the version's tags say why there is none.

    The version carries the signature, an input example, and by tags its lineage: digests of
    training data, model and decision, git commit, image and pipeline run. Registering the same
    model on the same decision again returns the version that is there.

    Args:
        model: The candidate.
        decision: What `decide` wrote.
        evaluation: The evaluation that the decision was made on.
        holdout: The dataset that the evaluation was made on.
        name: Registered model.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Recorded with the version.
        registration: Registration record (JSON): name, version, `models:/` URI, digests.

    Fails when:
        The decision does not approve this very model or was made on another holdout, or MLflow
        does not answer.
    """
    import os
    from pathlib import Path

    from penstock.records.decision import Decision
    from penstock.records.evaluation import Evaluation
    from penstock.registry.register import register as add

    record = add(
        Path(model.path),
        decision=Decision.read(Path(decision.path)),
        evaluation=Evaluation.read(Path(evaluation.path)),
        name=name,
        tracking_uri=tracking_uri,
        holdout=Path(holdout.path),
        lineage={"pipeline_run": pipeline_run, "image": os.environ.get("PENSTOCK_IMAGE", "")},
    )
    record.write(Path(registration.path))
