"""The monitor's pipeline: one look at a served model, for a recurring run of Kubeflow."""

from kfp import dsl

from penstock.components.fail import fail
from penstock.components.monitor import monitor
from penstock.pipelines.outcomes import ALARMS
from penstock.pipelines.task_settings import light, network, renamed, sized

NAME = "penstock-monitor"


def _end(kind: str, *, evidence: object) -> None:
    """End the run as failed, by a task that says what was found."""
    title, sentence = ALARMS[kind]
    light(renamed(fail, kind)(evidence=evidence, reason=f"{sentence}."), title)


@dsl.pipeline(
    name=NAME, description="One look at a served model: the data, the answers, how it runs."
)
def watch(
    name: str,
    deployment: dict = {},  # noqa: B006
    monitoring: dict = {},  # noqa: B006
    notify: dict = {},  # noqa: B006
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
    looked = network(
        sized(
            monitor(
                name=name,
                deployment=deployment,
                monitoring=monitoring,
                notify=notify,
                tracking_uri=tracking_uri,
            ),
            "Look",
            limit="4Gi",
        )
    )
    kind, verdict = looked.outputs["Output"], looked.outputs["verdict"]
    with dsl.If(kind == "drifted", name="drifted"):
        _end("drifted", evidence=verdict)
    with dsl.If(kind == "degraded", name="degraded"):
        _end("degraded", evidence=verdict)
    with dsl.If(kind == "blind", name="blind"):
        _end("blind", evidence=verdict)
