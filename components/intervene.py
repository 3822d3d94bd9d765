"""Component `intervene`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="monitor", cached=False)
def intervene(
    name: str,
    order: dsl.Output[dsl.Artifact],
    deployment: dict = {},
    monitoring: dict = {},
    notify: dict = {},
    policy: dict = {},
    tracking_uri: str = "",
    pipeline_run: str = "",
) -> str:
    """Go on with a recall or a retraining that a look has begun, and say what this run is to do.

    Returns what is to be carried out, to branch on: nothing, recall or retrain. Former champions
    are compared with the champion where a look asks for it. A stage that was entered is given to
    one run of Kubeflow, written down before it begins; where that run has ended without a result,
    which Argo's Workflow says, it is given to this one, three times in all. A rollout that it left
    half-way is ended first: the champion serves all requests again.

    Args:
        name: The project: its registered model and its service.
        deployment: Fields of the project file's `deployment` section: where it serves, and where
            its servers ship captured rows to.
        monitoring: Fields of the `monitoring` section; `state` says where the monitor keeps what
            it knows.
        notify: Fields of the `notify` section: who is notified of what was done.
        policy: Fields of the `gate` section; `approval` says who must approve.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Names this run.
        order: Order record (JSON): what is to be carried out, and why. Absent if nothing is.

    Fails when:
        Another process watches the service; the cluster, the registry or a store does not answer;
        or it cannot be known whether an earlier run goes on: then nothing is begun.
    """
    from pathlib import Path

    from penstock.monitoring.cluster.monitor import watcher_of
    from penstock.monitoring.cluster.tasks import intervene_once

    watcher = watcher_of(
        name,
        deployment=deployment,
        monitoring=monitoring,
        notify=notify,
        tracking_uri=tracking_uri,
    )
    return intervene_once(
        watcher,
        approval=policy.get("approval", {}),
        pipeline_run=pipeline_run,
        order=Path(order.path),
    )
