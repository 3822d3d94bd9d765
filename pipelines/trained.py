"""From a table to a candidate: checked, split, features, training; then what is in `gated`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kfp import dsl

from penstock.components.engineer_features import engineer_features
from penstock.components.split import split
from penstock.components.train import train
from penstock.components.validate import validate
from penstock.pipelines.gated import ReleaseSettings, gated
from penstock.pipelines.task_settings import network, sized


@dataclass(frozen=True)
class CandidateSettings:
    """What a table is made into a candidate by: parameters of a pipeline.

    Attributes:
        target: The column to predict.
        task: binary, multiclass, regression or auto.
        positive: Two classes: the one that is scored.
        contract: The columns that must be there: section `contract`.
        expectations: Great Expectations expectations.
        validation: What becomes of bad rows: section `validation`.
        split_options: How the holdout is split off: section `split`.
        features: How features are made: section `features`.
        training: Candidates and trials of the search: section `training`.
    """

    target: Any
    task: Any
    positive: Any
    contract: Any
    expectations: Any
    validation: Any
    split_options: Any
    features: Any
    training: Any


def trained(*, dataset: Any, candidate: CandidateSettings, settings: ReleaseSettings) -> None:
    """Add the tasks from the validation to the canary to the pipeline that is being made.

    Args:
        dataset: The table, as `ingest` writes it.
        candidate: What the candidate is made by.
        settings: What it is released by.
    """
    target, task = candidate.target, candidate.task
    checked = sized(
        validate(
            dataset=dataset,
            contract=candidate.contract,
            expectations=candidate.expectations,
            options=candidate.validation,
        ),
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
                options=candidate.split_options,
            ),
            "Split",
            limit="2Gi",
        )
        fitted = sized(
            engineer_features(
                train=parts.outputs["train"],
                proof=parts.outputs["proof"],
                target=target,
                options=candidate.features,
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
                    positive=candidate.positive,
                    experiment=settings.name,
                    options=candidate.training,
                    policy=settings.policy,
                    tracking_uri=settings.tracking_uri,
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
            evidence={
                "validation": checked.outputs["results"],
                "proof": parts.outputs["proof"],
            },
            settings=settings,
        )
    with dsl.If(checked.outputs["Output"] == False, name="data is not valid"):  # noqa: E712
        settings.end("data-refused", evidence=checked.outputs["results"])
