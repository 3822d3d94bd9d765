"""Component `score`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="score", cached=False)
def score(
    name: str,
    scores: dsl.Output[dsl.Artifact],
    scoring: dict = {},
    tracking_uri: str = "",
    pipeline_run: str = "",
) -> int:
    """Score every row of a source by a registered version, as its model server would.

    Returns how many rows were refused and set aside. Rows go in parts that are whole or absent to a
    folder, a store or a database; a step that was killed goes on there when it is tried again.

    Args:
        name: The project: its registered model.
        scoring: Fields of the project file's `scoring` section: version, source, destination.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        pipeline_run: Names this run: its folder below the destination, or its rows in a table.
        scores: Record (JSON): version, digests, rows read, scored and refused with reasons.

    Fails when:
        A row is one that the server would refuse, unless `on_error` is quarantine; the version is
        neither champion nor approved; the source holds other rows than before the step was killed;
        the registry, a store or a database does not answer.
    """
    from pathlib import Path

    from penstock.scoring.step import score_once

    record = score_once(
        name,
        scoring=scoring,
        tracking_uri=tracking_uri,
        run=pipeline_run,
        record=Path(scores.path),
    )
    return record.refused_rows
