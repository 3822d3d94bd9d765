"""What the registry knows of a run of Kubeflow: what it registered or promoted, and its fate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from penstock import tracking
from penstock.common import files
from penstock.registry import audit, champion_history
from penstock.registry.versions import (
    CHAMPION,
    DECISION_DIGEST,
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
    """What became of the version that a run registered, or promoted.

    Attributes:
        version: Its number.
        registered: Whether the run registered it; else an earlier one of the same model and
            decision did, and this one promoted it.
        promoted: Whether it became the champion, by the audit log and the alias.
        champion: The champion now; None: there is none.
        rolled_back: Why it was rolled back; empty: it was not.
    """

    version: int
    registered: bool
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


def rollout_of(run: str, *, version: int, model: str, decision: str) -> str:
    """Return the name of the rollout by which a run releases a version.

    Args:
        run: The run.
        version: The version's number.
        model: Digest of its model.
        decision: Digest of the decision that lets it in.

    Example:
        >>> rollout_of("run-1", version=3, model="sha256:1", decision="sha256:2")
        '3-85dbde321d2b'
    """
    digest = files.digest_of_text("\n".join((model, decision, run)))
    return f"{version}-{digest.removeprefix('sha256:')[:12]}"


def fate_of(run: str, *, name: str, tracking_uri: str) -> Fate | None:
    """Return what became of what a run registered or promoted; None: there is nothing of it.

    Of several versions it is the one that was promoted, else the newest.

    Args:
        run: Kubeflow's id of the run.
        name: The registered model.
        tracking_uri: The MLflow store.

    Raises:
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        model = registered_model(store, name)
        if model is None:
            return None
        found = list(newest_first(store, name))
    log, aliases = audit.read(model.tags), model.aliases
    alias = int(aliases[CHAMPION]) if CHAMPION in aliases else None
    released = champion_history.promoting_rollouts(log, alias=alias)
    fates = []
    for one in found:
        registered = one.tags.get(PIPELINE_RUN) == run
        decision = one.tags.get(DECISION_DIGEST, "")
        own = rollout_of(run, version=one.version, model=one.model, decision=decision)
        if registered or own in released:
            fate = Fate(
                version=one.version,
                registered=registered,
                promoted=own in released
                or champion_history.was_champion(log, one.version, alias=alias),
                champion=alias,
                rolled_back=one.tags.get(ROLLED_BACK, ""),
            )
            fates.append(fate)
    return next((one for one in fates if one.promoted), fates[0] if fates else None)
