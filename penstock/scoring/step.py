"""The step of the pipeline that scores: the section `scoring`, once for each run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.common.claims import reached
from penstock.errors import InputError
from penstock.records.scores import Scores
from penstock.scoring.partitions import no_folders
from penstock.scoring.score import Order, score
from penstock.scoring.spec import ScoringSpec
from penstock.scoring.sql_destination import is_database


def score_once(
    name: str, *, scoring: Mapping[str, Any], tracking_uri: str, run: str, record: Path
) -> Scores:
    """Score what a project's section names, under the name of the run.

    A step that was killed and is tried again goes on where it stopped: the run is the same, and so
    is its place at the destination.

    Args:
        name: The project: its registered model.
        scoring: Fields of the section `scoring`.
        tracking_uri: MLflow store; empty takes MLFLOW_TRACKING_URI.
        run: Names the run.
        record: Where the record is written too.

    Raises:
        InputError: If the section names no source or destination, or as `score`.
    """
    spec = ScoringSpec.parse(scoring, where="scoring")
    require_places(spec)
    assert spec.source is not None
    out = spec.destination
    if not is_database(out):
        out = f"{reached(out, where='scoring.destination').rstrip('/')}/{run}"
    mark = "/" if spec.version.isdigit() else "@"
    uri = spec.source.uri
    if uri.startswith("pvc://"):
        uri = reached(uri, where="scoring.source.uri")
    scores = score(
        Order(
            model=f"models:/{name}{mark}{spec.version}",
            data=spec.source.model_copy(update={"uri": uri}),
            out=out,
            form=spec.form,
            partition_by=spec.partition_by,
            table=spec.table,
            run=run,
            keep=spec.keep,
            request_ids=spec.request_ids,
            on_error=spec.on_error,
            unseen=spec.unseen,
            explain=spec.explain,
            part_rows=spec.part_rows,
            capture=reached(spec.capture, where="scoring.capture") if spec.capture else "",
            capture_sample=spec.capture_sample,
            unapproved=spec.unapproved,
            tracking_uri=tracking_uri,
            engine=spec.engine,
        ),
        again=True,
    )
    scores.write(record)
    return scores


def require_places(spec: ScoringSpec) -> None:
    """Return only if it is said what is scored, and where to.

    Raises:
        InputError: Naming what is not, or if a database is to have folders.
    """
    if spec.partition_by and is_database(spec.destination):
        raise no_folders(where="scoring.partition_by")
    for field, given in (("source", spec.source), ("destination", spec.destination)):
        if not given:
            raise InputError(
                f"the section says no {field} of what is scored",
                where=f"scoring.{field}",
                remedy="Name it in the project file (docs/batch-scoring.md).",
            )
