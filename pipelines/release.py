"""The release pipeline: from a table to a served model, with gates between."""

from kfp import dsl

from penstock.components.ingest import ingest
from penstock.components.notify import notify as tell_of_the_end
from penstock.pipelines.task_settings import light, network, sized
from penstock.pipelines.trained import trained

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
    source: dict = {},  # noqa: B006
    contract: dict = {},  # noqa: B006
    expectations: list = [],  # noqa: B006
    validation: dict = {},  # noqa: B006
    split_options: dict = {},  # noqa: B006
    features: dict = {},  # noqa: B006
    training: dict = {},  # noqa: B006
    evaluation: dict = {},  # noqa: B006
    policy: dict = {},  # noqa: B006
    deployment: dict = {},  # noqa: B006
    card: dict = {},  # noqa: B006
    requested_by: str = "",
    tracking_uri: str = "",
    notify: dict = {},  # noqa: B006
) -> None:
    """Release a model of a table: served only after a recorded approval.

    Every parameter but the first three has a default. An object holds fields of a section of the
    project file (docs/project-file.md).

    Args:
        name: The project: its registered model, its MLflow experiment and its service.
        uri: Where the table is: a path, https://, s3://, gs://, abfs:// or a database.
        target: The column to predict.
        task: binary, multiclass, regression, or auto to infer it from the target.
        positive: Two classes: the one that is scored. Empty takes 1, true or else the rarer.
        source: How to read the table: section `source` without its uri.
        contract: The columns that must be there: section `contract`.
        expectations: Great Expectations expectations: `{type, kwargs, severity}` each.
        validation: What becomes of bad rows: section `validation`.
        split_options: How the holdout is split off: section `split`.
        features: How features are made: section `features`.
        training: Candidates and trials of the search: section `training`.
        evaluation: How the holdout is measured: section `evaluation`.
        policy: The rules of the gate and who must approve: section `gate`.
        deployment: Where and how the model is rolled out: section `deployment`.
        card: The owner's part of the model card: section `card`.
        requested_by: Who starts the run; this person is never the only one to approve it.
        tracking_uri: MLflow store. Empty takes MLFLOW_TRACKING_URI of the steps.
        notify: Who is notified that it waits for people, and how it ended: section `notify`.
    """
    notified = light(tell_of_the_end(name=name, options=notify), "Notify")
    with dsl.ExitHandler(notified, name="release"):
        read = network(sized(ingest(uri=uri, options=source), "Ingest", limit="2Gi"))
        trained(
            dataset=read.outputs["dataset"],
            name=name,
            target=target,
            task=task,
            positive=positive,
            contract=contract,
            expectations=expectations,
            validation=validation,
            split_options=split_options,
            features=features,
            training=training,
            evaluation=evaluation,
            policy=policy,
            deployment=deployment,
            card=card,
            requested_by=requested_by,
            tracking_uri=tracking_uri,
            notify=notify,
        )
