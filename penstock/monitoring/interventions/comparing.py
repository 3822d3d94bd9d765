"""What a recall or a retraining is decided on: former champions and labels since the change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.records.base import restored
from penstock.records.intervention import Comparison, Intervention

if TYPE_CHECKING:
    from penstock.monitoring.estimates.concept import Concept
    from penstock.monitoring.store.collect import Watched
    from penstock.records.monitoring import MonitorState


def compared(
    order: Intervention,
    *,
    watched: Watched,
    source: str | Path,
    tracking_uri: str,
    folder: Path,
    spec: MonitoringSpec,
    concept: Concept | None,
) -> Comparison:
    """Return how former champions and labels stand.

    Args:
        order: What is under way.
        watched: What is watched of the service now.
        source: Where its captured rows are.
        tracking_uri: The MLflow store.
        folder: Where files of former champions are kept.
        spec: The section `monitoring`.
        concept: What labels have taught of the champion's estimates; None: nothing.

    Raises:
        PenstockError: If rows or registry cannot be read.
    """
    from penstock.monitoring.interventions.former_champions import former_champions, served
    from penstock.monitoring.interventions.labelled import rows_since
    from penstock.monitoring.interventions.recall import choose

    rows = rows_since(source, order.since)
    facts = Comparison(
        look=order.look,
        champion=order.version,
        reason="",
        labelled=rows.labelled,
        gate=rows.gate,
    )
    if watched.version != order.version:
        return facts.model_copy(update={"reason": f"Version {watched.version} serves now."})
    if watched.model is None or watched.reference is None or watched.known is None:
        why = " ".join(watched.missing)
        return facts.model_copy(
            update={"reason": f"Former champions cannot be compared with the champion: {why}"}
        )
    half = rows.to_choose(order.version)
    choice = choose(
        former_champions(
            watched.service,
            tracking_uri=tracking_uri,
            folder=folder,
            most=spec.recall.versions,
        ),
        champion=served(
            order.version,
            columns=[column.name for column in watched.model.columns],
            reference=watched.reference,
            baseline=watched.known.baseline,
        ),
        rows=half.rows,
        labels=half.labels,
        spec=spec.recall,
        tolerances=spec.tolerances,
        concept=concept,
    )
    return facts.model_copy(
        update={
            "version": choice.version,
            "reason": choice.reason,
            "figures": tuple(one.sentence for one in choice.comparisons),
            "rarest": rows.rarest(watched.model.classes),
        }
    )


def concept_of(state: MonitorState, version: int) -> Concept | None:
    """Return what labels have taught the monitor of a version's estimates; None: nothing."""
    from penstock.monitoring.estimates.concept import Concept

    if state.version != version or state.progress.concept is None:
        return None
    return restored(Concept, state.progress.concept, where="state.json: progress.concept")
