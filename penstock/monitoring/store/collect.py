"""What is watched: the version that serves, what it learned from, and how its service answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.captures.places import LocalPlace
from penstock.errors import InputError, IntegrityError, PenstockError, ServiceError
from penstock.monitoring.store.storage import Storage
from penstock.records.base import Record, restored
from penstock.records.explanation import Explanation
from penstock.records.figures import ServiceFigures
from penstock.records.model import FILE_NAME as MODEL
from penstock.records.model import Model
from penstock.records.monitoring import Known
from penstock.records.reference import FILE_NAME as REFERENCE
from penstock.records.reference import Reference
from penstock.records.rollout import ArmSummary, HistogramBuckets

if TYPE_CHECKING:
    from penstock.rollout.backends.local.state import LocalState, ServiceFolder
    from penstock.rollout.state import Arm

R = TypeVar("R", bound=Record)

_FORM = 2
"""Of `Known`: what an earlier release fetched lacks something."""


@dataclass(frozen=True)
class Watched:
    """What a look is about.

    Attributes:
        service: The service.
        version: The version that takes its requests; None: nothing serves.
        captures: Where its captured rows are; empty: nowhere.
        model: What it takes and gives.
        reference: How the columns of the rows that it learned from are distributed.
        known: Its performance on the holdout.
        counted: The proxy's own counters, as they stand.
        folder: Of its model.
        missing: What cannot be watched, and why, one sentence each.
        unwatched: What is not watched because nobody has said where to read it.
        problem: Why nothing can be watched at all; empty: something can.
    """

    service: str
    version: int | None = None
    captures: str = ""
    model: Model | None = None
    reference: Reference | None = None
    known: Known | None = None
    counted: dict[str, Any] | None = None
    folder: Path | None = None
    missing: tuple[str, ...] = ()
    unwatched: tuple[str, ...] = ()
    problem: str = ""


def watched_here(
    home: Path,
    service: str,
    *,
    captures: str = "",
    known_of: Callable[[int], Known | None],
    require: bool = True,
) -> Watched:
    """Return what is to be watched of a service on this machine.

    Whatever cannot be read is said and not raised: the rest is watched all the same.

    Args:
        home: The project's home.
        service: The service.
        captures: Where captured rows are; empty: where the version's server writes them.
        known_of: Returns what the registry keeps of a version; None: nothing.
        require: Whether it is missed where it is not there.
    """
    from penstock.rollout.backends.local.state import ServiceFolder

    folder = ServiceFolder(home, service)
    try:
        state = folder.read()
    except PenstockError as error:
        return Watched(service, problem=f"What serves cannot be read: {error}")
    arm = state.stable if state else None
    if state is None or arm is None:
        return Watched(service, problem="Nothing is being served. Release a version: penstock run.")
    missing: list[str] = []
    place = Path(arm.folder)
    model = _read(Model, place / MODEL, "what the model takes", missing)
    reference = _read(Reference, place / REFERENCE, "what it learned from", missing)
    return Watched(
        service=service,
        version=arm.version,
        captures=captures or str(folder.captures(arm.version)),
        model=model,
        reference=reference,
        known=known_version(
            Storage(LocalPlace(home / "monitor"), where=str(home / "monitor")),
            arm,
            known_of,
            missing=missing if require else [],
        ),
        counted=_counters(folder, state, arm.version),
        folder=place,
        missing=tuple(missing),
    )


@dataclass(frozen=True)
class Reading:
    """What the proxy has counted.

    Attributes:
        version: The version that serves.
        counted: Its counters: `epoch`, `arm`, `grids`.
    """

    version: int
    counted: dict[str, Any]


def reading_here(home: Path, service: str) -> Reading | None:
    """Return what was counted of a service on this machine; None where it cannot be known now."""
    from penstock.rollout.backends.local.state import ServiceFolder

    folder = ServiceFolder(home, service)
    with contextlib.suppress(PenstockError):
        state = folder.read()
        arm = state.stable if state else None
        if state is not None and arm is not None:
            counted = _counters(folder, state, arm.version)
            return None if counted is None else Reading(arm.version, counted)
    return None


def registry_of(service: str, *, tracking_uri: Callable[[], str]) -> Callable[[int], Known | None]:
    """Return a function that fetches what the registry keeps of a version's performance.

    Args:
        service: The registered model.
        tracking_uri: Returns the MLflow store; asked when a version is.
    """

    def known_of(version: int) -> Known | None:
        from penstock.registry import versions
        from penstock.registry.baseline import load_baseline

        uri = tracking_uri()
        found = versions.registered(f"models:/{service}/{version}", tracking_uri=uri)
        kept = load_baseline(found, tracking_uri=uri)
        if kept.baseline is None or kept.evaluation is None:
            return None
        return Known(
            model=kept.baseline.model,
            baseline=kept.baseline,
            metrics=kept.evaluation.candidate.metrics,
            higher_is_better=kept.evaluation.higher_is_better,
            cost=kept.cost,
            value=kept.value,
            explanation=_without_drawings(kept.explanation),
            form=_FORM,
        )

    return known_of


def figures_since(
    counted: dict[str, Any] | None, before: dict[str, Any] | None
) -> ServiceFigures | None:
    """Return how a service answered between two readings of its counters; None: not known.

    A proxy that was started again counts from nothing, which its epoch shows.
    """
    if counted is None:
        return None
    now = restored(ArmSummary, counted["arm"], where="state.json: progress.counted")
    if before is not None and before.get("epoch") == counted["epoch"]:
        now = now.minus(restored(ArmSummary, before["arm"], where="state.json: progress.counted"))
    return ServiceFigures(
        requests=now.requests,
        client_errors=now.client_errors,
        server_errors=now.server_errors,
        p99=_quantile(now, HistogramBuckets.model_validate(counted["grids"]), 0.99),
    )


def _quantile(arm: ArmSummary, grids: HistogramBuckets, share: float) -> float | None:
    from penstock.rollout.report_points import quantile

    return quantile(arm.latency, grids.latency, share)


def _counters(folder: ServiceFolder, state: LocalState, version: int) -> dict[str, Any] | None:
    """Return the proxy's counters of a version, JSON-ready; None where it does not answer."""
    from penstock.rollout.proxy import control

    if state.proxy is None:
        return None
    with contextlib.suppress(PenstockError, OSError, KeyError):
        seen = control.observe(folder, state.proxy)
        arm = seen.arms[version].model_copy(update={"scores": {}, "labels": {}})
        grids = state.assignment.grids or HistogramBuckets()
        return {
            "epoch": f"{seen.epoch}",
            "arm": arm.model_dump(mode="json"),
            "grids": grids.model_dump(mode="json"),
        }
    return None


def _without_drawings(explanation: Explanation | None) -> Explanation | None:
    return None if explanation is None else explanation.model_copy(update={"dependences": ()})


def _read(kind: type[R], path: Path, what: str, missing: list[str]) -> R | None:
    try:
        return kind.read(path)
    except PenstockError as error:
        missing.append(f"It is not known {what}: {error}")
        return None


def known_version(
    storage: Storage,
    arm: Arm,
    known_of: Callable[[int], Known | None],
    *,
    missing: list[str],
) -> Known | None:
    """Return what is known of a version: once it was fetched, from beside the monitor's state.

    Args:
        storage: The monitor's files.
        arm: The version, as it serves.
        known_of: Returns what the registry keeps of it; None: nothing.
        missing: Gets a sentence where it is not known.
    """
    version, name = arm.version, f"known-{arm.version}.json"
    found = None
    with contextlib.suppress(OSError, UnicodeDecodeError, InputError, IntegrityError):
        found = Known.loads(storage.read(".", name).decode(), where=name)
        found = found if found.model == arm.model else None
    if found is not None and found.form >= _FORM:
        return found
    try:
        fetched = known_of(version)
    except PenstockError as error:
        if found is not None:
            # What it lacks is not watched.
            return found
        missing.append(
            f"The performance of version {version} on the holdout cannot be read: {error}"
        )
        return None
    if fetched is None and found is not None:
        return found
    if fetched is None:
        missing.append(
            f"Nothing is kept of how version {version} scored the holdout: an earlier release of "
            "Penstock registered it. Its performance cannot be watched; release it again."
        )
        return None
    with contextlib.suppress(ServiceError):
        storage.write(".", name, fetched.dumps().encode())
    return fetched
