"""The release pipeline: from a table to a served model, with gates between."""

from kfp import dsl

from penstock.components.ingest import ingest
from penstock.pipelines.gated import Notifying, ReleaseSettings
from penstock.pipelines.task_settings import network, sized
from penstock.pipelines.trained import CandidateSettings, trained

NAME = "penstock-release"


@dsl.pipeline(
    name=NAME,
    description="Table to served model, after a recorded approval.",
)
def release(
    name: str,
    uri: str,
    target: str,
    task: str = "auto",
    positive: str = "",
    source: dict = {},
    contract: dict = {},
    expectations: list = [],
    validation: dict = {},
    split_options: dict = {},
    features: dict = {},
    training: dict = {},
    evaluation: dict = {},
    policy: dict = {},
    deployment: dict = {},
    card: dict = {},
    requested_by: str = "",
    tracking_uri: str = "",
    notify: dict = {},
) -> None:
    """Release a model of a table: served only after a recorded approval.

    Every parameter but the first three has a default. An object holds fields of the section of the
    project file (docs/project-file.md) that has its name: `source` without the `uri`,
    `split_options` of the section `split`, `policy` of the section `gate`.

    Args:
        name: The project, its model and its service.
        uri: The table, as a path, a URL or a database.
        target: The column to predict.
        task: binary, multiclass, regression or auto.
        positive: Of two classes the one that is scored.
        source: How to read the table.
        contract: The columns that are due.
        expectations: A list of `{type, kwargs, severity}`.
        validation: What becomes of bad rows.
        split_options: How a holdout is split off.
        features: How features are made.
        training: What is tried, and how often.
        evaluation: How the holdout is measured.
        policy: The rules, and who approves.
        deployment: How the model is rolled out.
        card: The owner's part of the model card.
        requested_by: Who starts the run, and cannot approve it alone.
        tracking_uri: MLflow store, else MLFLOW_TRACKING_URI.
        notify: Who is notified of waits and ends.
    """
    run = Notifying(name, tracking_uri)
    with dsl.ExitHandler(run.exit_handler(notify), name="release"):
        read = network(sized(ingest(uri=uri, options=source), "Ingest", limit="2Gi"))
        trained(
            dataset=read.outputs["dataset"],
            candidate=CandidateSettings(
                target=target,
                task=task,
                positive=positive,
                contract=contract,
                expectations=expectations,
                validation=validation,
                split_options=split_options,
                features=features,
                training=training,
            ),
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
