"""Component `fail`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="deploy", cached=False)
def fail(
    reason: str,
    evidence: dsl.Input[dsl.Artifact] = None,
    name: str = "",
    tracking_uri: str = "",
    pipeline_run: str = "",
) -> None:
    """End the run as failed, with the reason as its message.

    With a name and a run, the reason is written into MLflow for `notify`.

    Args:
        reason: What happened, for example `The gate refused the candidate.`
        evidence: A decision, validation or rollout record, if there is one. Its words follow the
            reason.
        name: The project's name.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Names this run.

    Fails when:
        Always: that is what it is for.
    """
    from pathlib import Path

    from penstock.errors import NotApprovedError
    from penstock.rollout.run_ended import note_refusal

    raise NotApprovedError(
        note_refusal(
            reason,
            evidence=Path(evidence.path) if evidence else None,
            name=name,
            run=pipeline_run,
            tracking_uri=tracking_uri,
        )
    )
