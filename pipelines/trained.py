"""From a table to a candidate: checked, split, features, training; then what is in `gated`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kfp import dsl

from penstock.components.engineer_features import engineer_features
from penstock.components.split import split
from penstock.components.train import train
from penstock.components.validate import validate
from penstock.pipelines.gated import gated
from penstock.pipelines.task_settings import network, sized


def trained(
    *,
    dataset: Any,
    name: Any,
    target: Any,
    task: Any,
    positive: Any,
    contract: Any,
    expectations: Any,
    validation: Any,
    split_options: Any,
    features: Any,
    training: Any,
    evaluation: Any,
    policy: Any,
    deployment: Any,
    card: Any,
    requested_by: Any,
    tracking_uri: Any,
    notify: Any,
    end: Callable[..., Any],
) -> None:
    """Add the tasks from the validation to the canary to the pipeline that is being made.

    Args:
        dataset: The table, as `ingest` writes it.
        name: The project: its registered model, its MLflow experiment and its service.
        target: The column to predict.
        task: binary, multiclass, regression or auto.
        positive: Two classes: the one that is scored.
        contract: The columns that must be there: section `contract`.
        expectations: Great Expectations expectations.
        validation: What becomes of bad rows: section `validation`.
        split_options: How the holdout is split off: section `split`.
        features: How features are made: section `features`.
        training: Candidates and trials of the search: section `training`.
        evaluation: How the holdout is measured: section `evaluation`.
        policy: The rules of the gate: section `gate`.
        deployment: Where and how it is rolled out: section `deployment`.
        card: The owner's part of the model card: section `card`.
        requested_by: Who starts the run.
        tracking_uri: The MLflow store.
        notify: Who is notified that it waits for people: section `notify`.
        end: What ends a run that is not released.
    """
    checked = sized(
        validate(dataset=dataset, contract=contract, expectations=expectations, options=validation),
        "Validate",
        limit="4Gi",
    )
    with dsl.If(checked.outputs["Output"] == True, name="data is valid"):  # noqa: E712
        parts = sized(
            split(
                dataset=dataset,
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
        made = network(
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
            model=made.outputs["model"],
            baselines=made.outputs["baselines"],
            holdout=parts.outputs["holdout"],
            name=name,
            evaluation=evaluation,
            policy=policy,
            deployment=deployment,
            card=card,
            requested_by=requested_by,
            tracking_uri=tracking_uri,
            notify=notify,
            evidence={
                "validation": checked.outputs["results"],
                "proof": parts.outputs["proof"],
            },
            end=end,
        )
    with dsl.If(checked.outputs["Output"] == False, name="data is not valid"):  # noqa: E712
        end("data-refused", evidence=checked.outputs["results"])
