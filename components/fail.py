"""Component `fail`."""

from kfp import dsl

from penstock.components._image import image


@dsl.component(base_image=image("data"), install_kfp_package=False)
def fail(evidence: dsl.Input[dsl.Artifact], reason: str) -> None:
    """End the run as failed, with the reason as its message.

    Args:
        evidence: A decision or validation record; its own words follow the reason.
        reason: What happened, for example `The gate refused the candidate.`

    Fails when:
        Always: that is what it is for.
    """
    from pathlib import Path

    from penstock.errors import NotApprovedError
    from penstock.notice import reason_of

    raise NotApprovedError(f"{reason} {reason_of(Path(evidence.path))}")
