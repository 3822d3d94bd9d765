"""The release pipeline: from a table to a served model, with gates between."""

from kfp import dsl

from penstock.components.engineer_features import engineer_features
from penstock.components.ingest import ingest
from penstock.components.notify import notify
from penstock.components.split import split
from penstock.components.train import train
from penstock.components.validate import validate
from penstock.pipelines.gated import end, gated
from penstock.pipelines.task_settings import light, network, sized

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
    notify_webhook: str = "",
    notify_file: str = "",
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
        notify_webhook: Slack-compatible address that gets the outcome of the run.
        notify_file: File to which the outcome of the run is appended as JSON.
    """
    notified = light(notify(name=name, webhook=notify_webhook, file=notify_file), "Notify")
    with dsl.ExitHandler(notified, name="release"):
        read = network(sized(ingest(uri=uri, options=source), "Ingest", limit="2Gi"))
        checked = sized(
            validate(
                dataset=read.outputs["dataset"],
                contract=contract,
                expectations=expectations,
                options=validation,
            ),
            "Validate",
            limit="4Gi",
        )
        with dsl.If(checked.outputs["Output"] == True, name="data is valid"):  # noqa: E712
            parts = sized(
                split(
                    dataset=read.outputs["dataset"],
                    valid=checked.outputs["valid"],
                    target=target,
                    task=task,
                    options=split_options,
                ),
                "Split",
                limit="2Gi",
            )
            fitted = sized(
                engineer_features(
                    train=parts.outputs["train"],
                    proof=parts.outputs["proof"],
                    target=target,
                    options=features,
                ),
                "Engineer features",
                limit="4Gi",
            )
            trained = network(
                sized(
                    train(
                        train=parts.outputs["train"],
                        features=fitted.outputs["features"],
                        proof=parts.outputs["proof"],
                        target=target,
                        task=task,
                        positive=positive,
                        experiment=name,
                        options=training,
                        policy=policy,
                        tracking_uri=tracking_uri,
                    ),
                    "Train",
                    limit="8Gi",
                    memory="2Gi",
                    cpu="1",
                )
            )
            gated(
                model=trained.outputs["model"],
                baselines=trained.outputs["baselines"],
                holdout=parts.outputs["holdout"],
                name=name,
                evaluation=evaluation,
                policy=policy,
                deployment=deployment,
                card=card,
                requested_by=requested_by,
                tracking_uri=tracking_uri,
                evidence={
                    "validation": checked.outputs["results"],
                    "proof": parts.outputs["proof"],
                },
            )
        with dsl.If(checked.outputs["Output"] == False, name="data is not valid"):  # noqa: E712
            end("data-refused", evidence=checked.outputs["results"])
