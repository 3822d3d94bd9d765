"""Component `record_refusal`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="monitor", cached=False)
def record_refusal(
    order: dsl.Input[dsl.Artifact],
    evidence: dsl.Input[dsl.Artifact],
    name: str,
    reason: str,
    deployment: dict = {},
    monitoring: dict = {},
) -> None:
    """Write down that a recall or a retraining was refused, for the monitor's next look.

    Args:
        order: What `intervene` wrote.
        evidence: The decision, validation or approval outcome that refuses it.
        name: The project: its service.
        reason: What happened, for example `The gate refused the candidate.`
        deployment: Fields of the project file's `deployment` section.
        monitoring: Fields of the `monitoring` section; `state` says where it is written.

    Fails when:
        The store does not answer.
    """
    from pathlib import Path

    from penstock.monitoring.cluster.monitor import watcher_of
    from penstock.monitoring.cluster.tasks import record_refusal as record
    from penstock.records.intervention import RunOrder

    watcher = watcher_of(
        name, deployment=deployment, monitoring=monitoring, notify={}, tracking_uri=""
    )
    record(
        watcher,
        RunOrder.read(Path(order.path)),
        evidence=Path(evidence.path),
        reason=reason,
    )
