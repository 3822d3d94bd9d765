"""The release pipeline: from a table to a served model, with gates between."""

from kfp import dsl

from penstock.components.approve import approve
from penstock.components.decide import decide
from penstock.components.deploy import deploy
from penstock.components.engineer_features import engineer_features
from penstock.components.evaluate import evaluate
from penstock.components.explain import explain
from penstock.components.fail import fail
from penstock.components.ingest import ingest
from penstock.components.notify import notify
from penstock.components.probe_serving import probe_serving
from penstock.components.register import register
from penstock.components.split import split
from penstock.components.train import train
from penstock.components.validate import validate
from penstock.pipelines.outcomes import ENDINGS
from penstock.pipelines.task_settings import light, network, renamed, sized

NAME = "penstock-release"


def _end(name: str, *, evidence: object) -> None:
    """End the run as failed, by a task that says how it ended."""
    ending = ENDINGS[name]
    light(renamed(fail, name)(evidence=evidence, reason=f"{ending.sentence}."), ending.title)


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
            validate(dataset=read.outputs["dataset"], contract=contract, expectations=expectations),
            "Validate",
            limit="4Gi",
        )
        with dsl.If(checked.outputs["Output"] == True, name="data is valid"):  # noqa: E712
            parts = sized(
                split(
                    dataset=read.outputs["dataset"],
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
            measured = network(
                sized(
                    evaluate(
                        holdout=parts.outputs["holdout"],
                        model=trained.outputs["model"],
                        baselines=trained.outputs["baselines"],
                        name=name,
                        options=evaluation,
                        policy=policy,
                        tracking_uri=tracking_uri,
                    ),
                    "Evaluate",
                    limit="4Gi",
                )
            )
            probed = sized(
                probe_serving(
                    model=trained.outputs["model"], holdout=parts.outputs["holdout"], policy=policy
                ),
                "Probe serving",
                limit="4Gi",
            )
            decided = light(
                decide(
                    evaluation=measured.outputs["evaluation"],
                    operations=probed.outputs["operations"],
                    name=name,
                    policy=policy,
                ),
                "Decide",
            )
            with dsl.If(decided.outputs["Output"] == True, name="gate approves"):  # noqa: E712
                explained = sized(
                    explain(model=trained.outputs["model"], holdout=parts.outputs["holdout"]),
                    "Explain",
                    limit="4Gi",
                )
                registered = network(
                    sized(
                        register(
                            model=trained.outputs["model"],
                            decision=decided.outputs["decision"],
                            evaluation=measured.outputs["evaluation"],
                            operations=probed.outputs["operations"],
                            explanation=explained.outputs["explanation"],
                            baseline=measured.outputs["baseline"],
                            validation=checked.outputs["results"],
                            proof=parts.outputs["proof"],
                            holdout=parts.outputs["holdout"],
                            name=name,
                            policy=policy,
                            card=card,
                            requested_by=requested_by,
                            tracking_uri=tracking_uri,
                            pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                        ),
                        "Register",
                        limit="2Gi",
                    )
                )
                approval = network(
                    # It may wait for days, so it must not reserve much of a node.
                    sized(
                        approve(
                            registration=registered.outputs["registration"],
                            policy=policy,
                            tracking_uri=tracking_uri,
                            pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                        ),
                        "Approve",
                        limit="1Gi",
                        memory="128Mi",
                        cpu="50m",
                    )
                )
                with dsl.If(approval.outputs["Output"] == True, name="approved"):  # noqa: E712
                    deployed = network(
                        light(
                            deploy(
                                registration=registered.outputs["registration"],
                                decision=decided.outputs["decision"],
                                holdout=parts.outputs["holdout"],
                                options=deployment,
                                policy=policy,
                                tracking_uri=tracking_uri,
                                pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                            ),
                            "Deploy",
                        )
                    )
                    with dsl.If(deployed.outputs["Output"] == False, name="rolled back"):  # noqa: E712
                        _end("rolled-back", evidence=deployed.outputs["rollout"])
                with dsl.If(approval.outputs["Output"] == False, name="not approved"):  # noqa: E712
                    _end("not-approved", evidence=approval.outputs["outcome"])
            with dsl.If(decided.outputs["Output"] == False, name="gate refuses"):  # noqa: E712
                _end("gate-refused", evidence=decided.outputs["decision"])
        with dsl.If(checked.outputs["Output"] == False, name="data is not valid"):  # noqa: E712
            _end("data-refused", evidence=checked.outputs["results"])
