"""The monitor's pipeline: one look at a served model, for a recurring run of Kubeflow."""

from typing import Any

from kfp import dsl

from penstock.components.fail import fail
from penstock.components.monitor import monitor
from penstock.pipelines.outcomes import ALARMS
from penstock.pipelines.task_settings import light, network, renamed, sized

NAME = "penstock-monitor"


def looked(*, name: Any, deployment: Any, monitoring: Any, notify: Any, tracking_uri: Any) -> Any:
    """Add the task that looks to the pipeline that is being made, and return it."""
    task = monitor(
        name=name,
        deployment=deployment,
        monitoring=monitoring,
        notify=notify,
        tracking_uri=tracking_uri,
    )
    return network(sized(task, "Look", limit="4Gi"))


def alarms(look: Any) -> None:
    """Add the tasks that end a run as failed where people must look: each says what was found."""
    for kind, (title, sentence) in ALARMS.items():
        with dsl.If(look.outputs["Output"] == kind, name=kind):
            failed = renamed(fail, kind)(evidence=look.outputs["verdict"], reason=f"{sentence}.")
            light(failed, title)


@dsl.pipeline(
    name=NAME, description="One look at a served model: the data, the answers, how it runs."
)
def watch(
    name: str,
    deployment: dict = {},
    monitoring: dict = {},
    notify: dict = {},
    tracking_uri: str = "",
) -> None:
    """Look once at a service on KServe, and fail where people must look.

    An object holds fields of a section of the project file (docs/project-file.md).

    Args:
        name: The project: its registered model and its service.
        deployment: Where and how the model is served: section `deployment`.
        monitoring: How it is watched: section `monitoring`.
        notify: Who is notified of a change: section `notify`.
        tracking_uri: MLflow store. Empty takes MLFLOW_TRACKING_URI of the steps.
    """
    alarms(
        looked(
            name=name,
            deployment=deployment,
            monitoring=monitoring,
            notify=notify,
            tracking_uri=tracking_uri,
        )
    )
