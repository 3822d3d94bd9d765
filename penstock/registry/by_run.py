"""What the registry knows of a run of Kubeflow: the versions that it registered, and their fate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from penstock import tracking
from penstock.registry import audit, champion_history
from penstock.registry.versions import (
    CHAMPION,
    ROLLED_BACK,
    Version,
    answers,
    newest_first,
    registered_model,
)

PIPELINE_RUN = "penstock.pipeline_run"
"""Tag of a version: the run that registered it."""


@dataclass(frozen=True)
class Fate:
    """What became of the version that a run registered.

    Attributes:
        version: Its number.
        promoted: Whether it became the champion, by the audit log and the alias.
        champion: The champion now; None: there is none.
        rolled_back: Why it was rolled back; empty: it was not.
    """

    version: int
    promoted: bool
    champion: int | None
    rolled_back: str = ""


def registered_by(runs: Collection[str], *, name: str, tracking_uri: str) -> tuple[Version, ...]:
    """Return the versions that runs have registered, the newest first.

    Args:
        runs: Kubeflow's ids of them.
        name: The registered model.
        tracking_uri: The MLflow store.

    Raises:
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        found = newest_first(store, name)
        return tuple(one for one in found if one.tags.get(PIPELINE_RUN) in runs)


def fate_of(run: str, *, name: str, tracking_uri: str) -> Fate | None:
    """Return what became of what a run registered; None: it has registered nothing.

    Of several versions it is the one that was promoted, else the newest.

    Args:
        run: Kubeflow's id of the run.
        name: The registered model.
        tracking_uri: The MLflow store.

    Raises:
        ServiceError: If the registry does not answer.
    """
    found = registered_by([run], name=name, tracking_uri=tracking_uri)
    if not found:
        return None
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        model = registered_model(store, name)
    if model is None:
        return None
    log, aliases = audit.read(model.tags), model.aliases
    alias = int(aliases[CHAMPION]) if CHAMPION in aliases else None
    fates = [
        Fate(
            version=one.version,
            promoted=champion_history.was_champion(log, one.version, alias=alias),
            champion=alias,
            rolled_back=one.tags.get(ROLLED_BACK, ""),
        )
        for one in found
    ]
    return next((one for one in fates if one.promoted), fates[0])
