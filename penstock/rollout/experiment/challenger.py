"""The version that is tried: approved by the gate against the champion that serves.

Everything that a release of it needs is read from the registry, as it was kept when it was
registered; the rows of its holdout are looked for where runs and rollouts here left them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock import tracking
from penstock.errors import InputError, NotApprovedError, PenstockError, ServiceError
from penstock.records.dataset import Dataset
from penstock.records.decision import Decision
from penstock.records.release import Registration
from penstock.records.rollout import Order
from penstock.registry import audit, versions
from penstock.registry.admission import Admission
from penstock.registry.champion import checked_champion
from penstock.registry.evidence import fetch_pack
from penstock.registry.versions import Version
from penstock.rollout.journal import Journal
from penstock.rollout.target import Target

Holdouts = Callable[[], Iterator[Path]]


def challenger_of(
    target: Target,
    *,
    version: int | None,
    deployment: dict[str, object],
    tracking_uri: str,
    holdouts: Holdouts,
) -> Order:
    """Return the inputs of a release of the challenger, which may serve now.

    Args:
        target: Where the service lives.
        version: Its number; None takes the newest that the gate approves against the champion, that
            was not rolled back, and that no experiment has tried in vain: trying again until it
            wins would not be an experiment.
        deployment: The project file's section.
        tracking_uri: The MLflow store.
        holdouts: Yields folders that may hold the rows of a holdout.

    Raises:
        InputError: If there is no champion, no such version, or no rows of its holdout.
        NotApprovedError: If it may not serve, or none may.
        IntegrityError: If what is registered is not what was approved, or was compared with another
            champion.
        ServiceError: If the registry does not answer.
    """
    name, where = target.service, f"service {target.service}"
    champion = checked_champion(name, tracking_uri=tracking_uri).require_recorded(name)
    if champion is None or target.router.stable != champion.version:
        raise InputError(
            "there is no champion that serves, so there is nothing to compare with",
            where=where,
            remedy="Release a first version with: penstock run.",
        )
    if version == champion.version:
        raise InputError(f"version {version} is the champion itself", where=where)

    def order_of(found: Version) -> Order:
        order = _order(
            found, target, deployment=deployment, tracking_uri=tracking_uri, holdouts=holdouts
        )
        Admission(order).require()
        return order

    if version is not None:
        return order_of(versions.registered(f"models:/{name}/{version}", tracking_uri=tracking_uri))
    refused: PenstockError | None = None
    tried = _tried(name, tracking_uri=tracking_uri)
    for found in _newest_first(name, tracking_uri=tracking_uri):
        if found == champion or found.uri in tried or versions.ROLLED_BACK in found.tags:
            continue
        try:
            return order_of(found)
        except ServiceError:
            raise
        except PenstockError as error:
            refused = refused or error
    raise NotApprovedError(
        "no version is approved that is not the champion, was not rolled back, and was not tried",
        where=where,
        remedy=f"Of the newest: {refused}" if refused else "Train another with: penstock run.",
    )


def _tried(name: str, *, tracking_uri: str) -> set[str]:
    """Return the versions that an experiment did not show to be better than the champion."""
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        log = audit.read(store.get_registered_model(name).tags)
    return {entry.uri for entry in log.entries if entry.event == audit.KEPT}


def _newest_first(name: str, *, tracking_uri: str) -> Iterator[Version]:
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        yield from versions.newest_first(store, name)


def _order(
    found: Version,
    target: Target,
    *,
    deployment: dict[str, object],
    tracking_uri: str,
    holdouts: Holdouts,
) -> Order:
    known = _ordered_before(found, target)
    if known is None:
        known = _from_evidence(found, tracking_uri=tracking_uri)
    holdout = _holdout(known, holdouts)
    return known.model_copy(
        update={"deployment": deployment, "holdout": str(holdout), "tracking_uri": tracking_uri}
    )


def _ordered_before(found: Version, target: Target) -> Order | None:
    """Return the order of an earlier rollout of this very version and decision."""
    digest = found.tags.get(versions.DECISION_DIGEST, "")
    for store in reversed(target.stores()):
        order = Journal(store).order
        if (
            isinstance(order, Order)
            and order.registration.uri == found.uri
            and order.decision.digest() == digest
        ):
            return Order(**{name: getattr(order, name) for name in Order.model_fields})
    return None


def _from_evidence(found: Version, *, tracking_uri: str) -> Order:
    with TemporaryDirectory() as place:
        pack, _ = fetch_pack(found, tracking_uri=tracking_uri, into=Path(place))
        kept = pack / "decision.json" if pack else None
        if kept is None or not kept.exists():
            raise InputError(
                "its decision was not kept when it was registered",
                where=found.uri,
                remedy="Release it by its pipeline.",
            )
        decision = Decision.read(kept)
    registration = Registration(
        name=found.name,
        version=found.version,
        uri=found.uri,
        model=found.model,
        decision=found.tags.get(versions.DECISION_DIGEST, ""),
        dataset=found.training_part,
        mlflow_run=found.run,
        export=found.export,
    )
    # The policy is read from the evidence by whoever asks for admission.
    return Order(registration=registration, decision=decision, deployment={}, holdout="")


def _holdout(order: Order, holdouts: Holdouts) -> Path:
    """Return a folder with the rows that the decision was made on."""
    given = [Path(order.holdout)] if order.holdout else []
    for folder in (*given, *holdouts()):
        try:
            if Dataset.of(folder).content == order.decision.dataset:
                return folder
        except PenstockError:
            continue
    raise InputError(
        "the rows of its holdout are not here any more, and by them its server is checked before "
        "users meet it",
        where=order.registration.uri,
        remedy="Give the folder of its holdout with --holdout, or release it by its pipeline.",
    )
