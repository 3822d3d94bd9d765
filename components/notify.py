"""Component `notify`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="deploy", cached=False)
def notify(
    status: dsl.PipelineTaskFinalStatus,
    name: str,
    options: dict = {},
    tracking_uri: str = "",
    pipeline_run: str = "",
) -> None:
    """Notify people how a run ended, with the cause; made to be a pipeline's exit handler.

    The cause is what `deploy` or `fail` wrote into MLflow; where none has, the registry tells
    whether a version was promoted. A message that is lost is reported in the task's log and never
    changes how the run ended. A task that is tried again tries the places that lack it.

    Args:
        status: The run's final status, which Kubeflow gives to an exit handler.
        name: The project's name.
        options: Fields of the section `notify`: who is notified.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Names this run.

    Fails when:
        A field of `options` is wrong.
    """
    from penstock.rollout.end_notice import notify_of_end

    notify_of_end(
        status.state,
        name=name,
        run=pipeline_run,
        notify=options,
        tracking_uri=tracking_uri,
        error=status.error_message or "",
    )
