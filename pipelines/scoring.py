"""The pipeline that scores: one batch, for a recurring run of Kubeflow."""

from kfp import dsl

from penstock.components.score import score
from penstock.pipelines.task_settings import network, sized

NAME = "penstock-score"


@dsl.pipeline(name=NAME, description="A table scored by a registered version, in parts.")
def score_batch(
    name: str,
    scoring: dict = {},
    tracking_uri: str = "",
) -> None:
    """Score a source once, into a place of this run's own.

    An object holds fields of a section of the project file (docs/project-file.md).

    Args:
        name: The project: its registered model.
        scoring: What is scored, by which version, where to: section `scoring`.
        tracking_uri: MLflow store. Empty takes MLFLOW_TRACKING_URI of the steps.
    """
    network(
        sized(
            score(
                name=name,
                scoring=scoring,
                tracking_uri=tracking_uri,
                pipeline_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            ),
            "Score",
            limit="4Gi",
        )
    )
