"""Component `register`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="train", cached=False)
def register(
    model: dsl.Input[dsl.Model],
    decision: dsl.Input[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact],
    holdout: dsl.Input[dsl.Dataset],
    name: str,
    registration: dsl.Output[dsl.Artifact],
    policy: dict = {},
    operations: dsl.Input[dsl.Artifact] = None,
    validation: dsl.Input[dsl.Artifact] = None,
    explanation: dsl.Input[dsl.Artifact] = None,
    baseline: dsl.Input[dsl.Artifact] = None,
    proof: dsl.Input[dsl.Artifact] = None,
    card: dict = {},
    tracking_uri: str = "",
    pipeline_run: str = "",
    requested_by: str = "",
) -> None:
    """Register a model that a decision approves, as the challenger, with its ONNX form.

    Whatever is handed over is compared with the digests in the decision, the rows of the holdout
    are digested again, and the gate is run again: a decision that was edited, is of something
    else, or compared with a champion that is not the champion any more is refused with the field.
    All of it is kept with the version as evidence, signed if PENSTOCK_SIGNING_KEY names a key.

    The ONNX form is what the model server answers with: the whole pipeline from the raw columns.
    It is compared with the model on every row of the holdout, and kept only if labels are equal
    and probabilities agree within 1e-9; otherwise the version's tags say why there is none.
    Registering the same model on the same decision again returns the version that is there.

    Args:
        model: The candidate.
        decision: What `decide` wrote.
        evaluation: The evaluation that the decision was made on.
        holdout: The dataset that the evaluation was made on.
        name: Registered model.
        policy: Fields of the project file's `gate` section, the same that `decide` was given.
        operations: What was measured in the server, where the decision was made on that too.
        validation: What `validate` found, for the evidence.
        explanation: Which columns the predictions depend on, for the evidence.
        baseline: What `evaluate` wrote beside the evaluation, for the monitor.
        proof: What `split` proved, for the evidence.
        card: Fields of the section `card`: what the owner says in the model card.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Recorded with the version.
        requested_by: Who started the run; never the only one to approve it.
        registration: Registration record (JSON): name, version, `models:/` URI, digests.

    Fails when:
        The decision does not approve this very model on what is given, or MLflow does not answer.
    """
    import os
    from pathlib import Path

    from penstock.gate.evaluation import Evaluation
    from penstock.records.decision import Decision
    from penstock.registry.evidence import grounds_of
    from penstock.registry.register import register as add

    here = os.environ.get("PENSTOCK_IMAGE", "")
    given = {
        "operations": operations,
        "validation": validation,
        "explanation": explanation,
        "baseline": baseline,
        "split": proof,
    }
    record = add(
        Path(model.path),
        decision=Decision.read(Path(decision.path)),
        evaluation=Evaluation.read(Path(evaluation.path)),
        name=name,
        tracking_uri=tracking_uri,
        holdout=Path(holdout.path),
        lineage={"pipeline_run": pipeline_run, "image": here},
        grounds=grounds_of(
            {kind: Path(artifact.path) for kind, artifact in given.items() if artifact},
            policy=policy,
            card=card,
            image=here,
            requested_by=requested_by,
        ),
    )
    record.write(Path(registration.path))
