"""The monitor's pipeline where it acts: a look, then a recall or a retraining that it has begun."""

from typing import Any

from kfp import dsl

from penstock.components.export_rows import export_rows
from penstock.components.fetch_version import fetch_version
from penstock.components.hold_out import hold_out
from penstock.components.ingest import ingest
from penstock.components.intervene import intervene
from penstock.components.record_refusal import record_refusal
from penstock.components.settle import settle
from penstock.pipelines.gated import ReleaseSettings, end, gated
from penstock.pipelines.monitor import NAME, alarms, looked
from penstock.pipelines.outcomes import ENDINGS
from penstock.pipelines.task_settings import light, network, sized
from penstock.pipelines.trained import CandidateSettings, trained
from penstock.registry.audit import MONITOR


class _Ends:
    """Ends a run that is not released, once the monitor can read why."""

    def __init__(self, order: Any, watched: dict[str, Any]) -> None:
        self._order, self._watched = order, watched

    def __call__(self, name: str, *, evidence: Any) -> None:
        ended = end(name, evidence=evidence)
        if ENDINGS[name].outcome == "rolled_back":
            return  # The service's own record says so, and `settle` reads it.
        recorded = record_refusal(
            **self._watched,
            order=self._order,
            evidence=evidence,
            reason=f"{ENDINGS[name].sentence}.",
        )
        ended.after(network(light(recorded, "Record refusal")))


def _exported(order: Any, rows: dict[str, Any]) -> Any:
    return network(sized(export_rows(order=order, **rows), "Export rows", limit="4Gi"))


def _ingested(exported: Any) -> Any:
    read = network(sized(ingest(uri=exported.output), "Ingest", limit="2Gi"))
    return read.outputs["dataset"]


def _recalled(order: Any, exported: Any, settings: ReleaseSettings) -> None:
    fetched = network(
        sized(
            fetch_version(name=settings.name, order=order, tracking_uri=settings.tracking_uri),
            "Fetch version",
            limit="2Gi",
        )
    )
    held = sized(hold_out(dataset=_ingested(exported)), "Hold out", limit="2Gi")
    gated(
        model=fetched.outputs["model"],
        baselines=fetched.outputs["baselines"],
        holdout=held.outputs["holdout"],
        evidence={},
        settings=settings,
    )


@dsl.pipeline(
    name=NAME,
    description="One look at a served model; where it predicts worse a former champion is "
    "recalled, else it is trained again, by the gate and the canary.",
)
def closed_loop(
    name: str,
    target: str,
    task: str = "auto",
    positive: str = "",
    contract: dict = {},
    expectations: list = [],
    validation: dict = {},
    split_options: dict = {},
    features: dict = {},
    training: dict = {},
    evaluation: dict = {},
    policy: dict = {},
    deployment: dict = {},
    monitoring: dict = {},
    notify: dict = {},
    card: dict = {},
    tracking_uri: str = "",
) -> None:
    """Look once at a service on KServe, and carry out what follows: recall first, then retraining.

    An object holds fields of a section of the project file (docs/project-file.md).

    Args:
        name: The project: its registered model, its MLflow experiment and its service.
        target: The column to predict.
        task: binary, multiclass, regression, or auto to infer it from the target.
        positive: Two classes: the one that is scored. Empty takes 1, true or else the rarer.
        contract: The columns that must be there: section `contract`.
        expectations: Great Expectations expectations: `{type, kwargs, severity}` each.
        validation: What becomes of bad rows: section `validation`.
        split_options: How the holdout is split off: section `split`.
        features: How features are made: section `features`.
        training: Candidates and trials of the search: section `training`.
        evaluation: How the holdout is measured: section `evaluation`.
        policy: The rules of the gate and who must approve: section `gate`.
        deployment: Where and how the model is served and rolled out: section `deployment`.
        monitoring: How it is watched: section `monitoring`.
        notify: Who is notified of a change, and that it waits for people: section `notify`.
        card: The owner's part of the model card: section `card`.
        tracking_uri: MLflow store. Empty takes MLFLOW_TRACKING_URI of the steps.
    """
    run = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    watched = {"name": name, "deployment": deployment, "monitoring": monitoring}
    settled = network(
        light(settle(**watched, tracking_uri=tracking_uri, pipeline_run=run), "Settle")
    )
    with dsl.ExitHandler(settled, name="look"):
        look = looked(**watched, notify=notify, tracking_uri=tracking_uri)
        began = intervene(
            **watched,
            notify=notify,
            policy=policy,
            tracking_uri=tracking_uri,
            pipeline_run=run,
        )
        began = network(sized(began, "Recall or retrain", limit="4Gi")).after(look)
        stage, order = began.outputs["Output"], began.outputs["order"]
        settings = ReleaseSettings(
            name=name,
            evaluation=evaluation,
            policy=policy,
            deployment=deployment,
            card=card,
            requested_by=MONITOR,
            tracking_uri=tracking_uri,
            notify=notify,
            end=_Ends(order, watched),
        )
        rows = {**watched, "target": target, "split_options": split_options}
        with dsl.If(stage == "recall", name="recall"):
            _recalled(order, _exported(order, rows), settings)
        with dsl.If(stage == "retrain", name="retrain"):
            trained(
                dataset=_ingested(_exported(order, rows)),
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
                settings=settings,
            )
        # A run that carries something out ends as that does.
        with dsl.If(stage == "nothing", name="nothing is begun"):
            alarms(look)
