"""Component `register`."""

from kfp import dsl

from penstock.components._image import image


@dsl.component(base_image=image("train"), install_kfp_package=False)
def register(
    model: dsl.Input[dsl.Model],
    decision: dsl.Input[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact],
    name: str,
    registration: dsl.Output[dsl.Artifact],
    tracking_uri: str = "",
    pipeline_run: str = "",
) -> None:
    """Register a model that a decision approves, as the challenger.

    The version carries the signature, an input example, and by tags its lineage: digests of
    training data, model and decision, git commit, image and pipeline run. Registering the same
    model on the same decision again returns the version that is there.

    Args:
        model: The candidate.
        decision: What `decide` wrote.
        evaluation: The evaluation that the decision was made on.
        name: Registered model.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Recorded with the version.
        registration: Registration record (JSON): name, version, `models:/` URI, digests.

    Fails when:
        The decision does not approve this very model, or MLflow does not answer.
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
        lineage={"pipeline_run": pipeline_run, "image": os.environ.get("PENSTOCK_IMAGE", "")},
    )
    record.write(Path(registration.path))
