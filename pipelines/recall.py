"""The recall pipeline: a former champion is judged on new rows as a candidate, and released."""

from kfp import dsl

from penstock.components.fetch_version import fetch_version
from penstock.components.ingest import ingest
from penstock.pipelines.gated import Notifying, ReleaseSettings, gated
from penstock.pipelines.task_settings import network, sized

NAME = "penstock-recall"


@dsl.pipeline(
    name=NAME,
    description="Former champion to served model, after a recorded approval; nothing is trained.",
)
def recall(
    name: str,
    uri: str,
    version: int,
    evaluation: dict = {},
    policy: dict = {},
    deployment: dict = {},
    card: dict = {},
    requested_by: str = "",
    tracking_uri: str = "",
    notify: dict = {},
) -> None:
    """Serve a former champion again: judged on labelled rows that it was not chosen on.

    What passes is registered as a new version with the same model: its decision, evidence and
    approvals are of today. Nothing is trained.

    Args:
        name: The project: its registered model and its service.
        uri: Where the labelled rows are, as `penstock captures export` writes them.
        version: The former champion.
        evaluation: How the rows are measured: section `evaluation`.
        policy: The rules of the gate and who must approve: section `gate`.
        deployment: Where and how the model is rolled out: section `deployment`.
        card: The owner's part of the model card: section `card`.
        requested_by: Who starts the run; this person is never the only one to approve it.
        tracking_uri: MLflow store. Empty takes MLFLOW_TRACKING_URI of the steps.
        notify: Who is notified that it waits for people, and how it ended: section `notify`.
    """
    run = Notifying(name, tracking_uri)
    with dsl.ExitHandler(run.exit_handler(notify), name="recall"):
        rows = network(sized(ingest(uri=uri), "Ingest", limit="2Gi"))
        fetched = network(
            sized(
                fetch_version(name=name, version=version, tracking_uri=tracking_uri),
                "Fetch version",
                limit="2Gi",
            )
        )
        gated(
            model=fetched.outputs["model"],
            baselines=fetched.outputs["baselines"],
            holdout=rows.outputs["dataset"],
            evidence={},
            settings=ReleaseSettings(
                name=name,
                evaluation=evaluation,
                policy=policy,
                deployment=deployment,
                card=card,
                requested_by=requested_by,
                tracking_uri=tracking_uri,
                notify=notify,
                end=run.end,
            ),
        )
