"""Component `export_rows`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="monitor", cached=False)
def export_rows(
    order: dsl.Input[dsl.Artifact],
    name: str,
    target: str,
    deployment: dict = {},
    monitoring: dict = {},
    split_options: dict = {},
) -> str:
    """Lay the labelled rows since the change beside the monitor's state, for `ingest`.

    Returns where they are. For a recall they are the half that the gate judges on: the choice has
    not seen it. They are no output of the step, and `settle` removes them.

    Args:
        order: What `intervene` wrote.
        name: The project: its service.
        target: The column that gets the true labels.
        deployment: Fields of the project file's `deployment` section: where its servers ship
            captured rows to.
        monitoring: Fields of the `monitoring` section; `state` says where the rows are laid.
        split_options: Fields of the `split` section: where rows are split by a time that is no
            input of the model, the time of the answer stands in for it.

    Fails when:
        There are no labelled rows since the change, or a store does not answer.
    """
    from pathlib import Path

    from penstock.data.spec import SplitSpec
    from penstock.monitoring.cluster.monitor import watcher_of
    from penstock.monitoring.cluster.tasks import export_once
    from penstock.records.intervention import RunOrder

    split = SplitSpec.parse(split_options, where="split")
    watcher = watcher_of(
        name, deployment=deployment, monitoring=monitoring, notify={}, tracking_uri=""
    )
    return export_once(
        watcher,
        RunOrder.read(Path(order.path)),
        target=target,
        time=split.column if split.method == "time" else "",
    )
