"""Component `settle`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="monitor", cached=False)
def settle(
    status: dsl.PipelineTaskFinalStatus,
    name: str,
    deployment: dict = {},
    monitoring: dict = {},
    tracking_uri: str = "",
    pipeline_run: str = "",
) -> None:
    """Write down what came of a recall or a retraining; made to be a pipeline's exit handler.

    What the rollout came to, as the service has it; where none had begun and nobody refused, that
    it failed. The rows of the run are removed. The monitor's next look acts on what is written.
    What cannot be written or known now is found out by a later look.

    Args:
        status: The run's final status, which Kubeflow gives to an exit handler.
        name: The project: its registered model and its service.
        deployment: Fields of the project file's `deployment` section: where it serves.
        monitoring: Fields of the `monitoring` section; `state` says where it is written.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Names this run.

    Fails when:
        A field of a section is wrong.
    """
    from penstock.monitoring.cluster.monitor import watcher_of
    from penstock.monitoring.cluster.tasks import settle_once

    watcher = watcher_of(
        name,
        deployment=deployment,
        monitoring=monitoring,
        notify={},
        tracking_uri=tracking_uri,
    )
    settle_once(watcher, pipeline_run=pipeline_run, failure=status.error_message or "")
