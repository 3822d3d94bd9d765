"""Component `fail`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data", cached=False)
def fail(reason: str, evidence: dsl.Input[dsl.Artifact] = None) -> None:
    """End the run as failed, with the reason as its message.

    Args:
        reason: What happened, for example `The gate refused the candidate.`
        evidence: A decision, validation or rollout record, if there is one. Its words follow the
            reason.

    Fails when:
        Always: that is what it is for.
    """
    from pathlib import Path

    from penstock.errors import NotApprovedError
    from penstock.notification import reason_of

    why = reason_of(Path(evidence.path)) if evidence else ""
    raise NotApprovedError(f"{reason} {why}".strip())
