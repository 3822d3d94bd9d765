"""The figures of a service's newest experiment for Prometheus, as its controller saw them last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from penstock.errors import ServiceError
from penstock.records.experiment import (
    ArmReading,
    Ending,
    ExperimentOrder,
    ExperimentPlan,
    ExperimentReading,
    Verdict,
)
from penstock.records.rollout import Finding, Rollout
from penstock.rollout.engine import watched
from penstock.rollout.experiment.controller import LOOK, READING
from penstock.rollout.experiment.papers import guards_found, outcome_of
from penstock.rollout.journal import Journal
from penstock.rollout.target import Target

if TYPE_CHECKING:
    from prometheus_client.core import Metric


@dataclass(frozen=True)
class Standing:
    """An experiment as its journal and its controller's last look have it.

    Attributes:
        rollout: Its rollout.
        plan: Its plan.
        reading: What it showed at the last look; None: its controller has not looked yet.
        guards: What the rules on errors, latency and loss found.
        driven: Whether a process watches it.
    """

    rollout: Rollout
    plan: ExperimentPlan
    reading: ExperimentReading | None
    guards: tuple[Finding, ...]
    driven: bool


def standing(target: Target) -> Standing | None:
    """Return the service's newest experiment as it stands; None: it has none.

    Nothing is worked out anew from its events, so that it may be called every few seconds.

    Raises:
        ServiceError: If its journal, or what its controller saw, cannot be read.
    """
    for store in reversed(target.stores()):
        journal = Journal(store)
        if not journal.exists or journal.rollout.purpose != "experiment":
            continue
        order, rollout = journal.order, journal.rollout
        if not isinstance(order, ExperimentOrder):
            return None
        return Standing(
            rollout=rollout,
            plan=order.experiment,
            reading=_noted(journal),
            guards=guards_found(rollout, order),
            driven=rollout.outcome is None and target.driven(),
        )
    return None


def _noted(journal: Journal) -> ExperimentReading | None:
    text = journal.note(READING) or journal.note(LOOK)
    try:
        return ExperimentReading.model_validate_json(text) if text else None
    except ValueError as error:
        raise ServiceError(
            "what its controller saw last cannot be read: another release wrote it",
            where=f"experiment {journal.name}",
        ) from error


def families(found: Standing, *, service: str) -> Iterator[Metric]:
    """Yield the metrics of an experiment.

    Args:
        found: The experiment.
        service: The service.
    """
    yield from _gauges(_course(found), service)
    yield from _ending(found.rollout, service)
    yield from _guards(found.guards, service)
    if found.reading is not None:
        yield from _reading(found.reading, found, service)


def _course(found: Standing) -> dict[str, tuple[str, float]]:
    rollout, plan = found.rollout, found.plan
    figures = {
        "under_way": ("1 while it has not ended", float(rollout.outcome is None)),
        "watched": ("1 while a process watches it for harm", float(found.driven)),
        "started_timestamp_seconds": ("Unix time of its start", rollout.started.timestamp()),
        "watched_seconds": ("Time that it was watched for", watched(rollout.intervals)),
        "planned_seconds": ("Time after which it is stopped", plan.seconds),
        "planned_users": ("Users that are planned, of both arms together", float(plan.users)),
        "weight_ratio": (
            "The challenger's share of the users",
            (found.reading.weight if found.reading else rollout.last.weight) / 100,
        ),
    }
    if rollout.outcome is not None:
        figures["ended_timestamp_seconds"] = ("Unix time of its end", rollout.last.time.timestamp())
    if found.reading is not None:
        looked = found.reading.time.timestamp()
        figures["last_look_timestamp_seconds"] = ("Unix time of the newest reading", looked)
    return figures


def _gauges(figures: dict[str, tuple[str, float]], service: str) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    for name, (text, value) in figures.items():
        gauge = GaugeMetricFamily(f"penstock_experiment_{name}", text, labels=["service"])
        gauge.add_metric([service], value)
        yield gauge


def _ending(rollout: Rollout, service: str) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    ended = GaugeMetricFamily(
        "penstock_experiment_ended",
        "1 for how it ended, else 0",
        labels=["service", "outcome", "champion", "challenger"],
    )
    outcome = outcome_of(rollout) if rollout.outcome is not None else None
    for each in get_args(Ending):
        versions = [str(rollout.stable), str(rollout.candidate)]
        ended.add_metric([service, each, *versions], float(each == outcome))
    yield ended


def _guards(guards: tuple[Finding, ...], service: str) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(
        "penstock_experiment_guard",
        "1 for what a rule on errors, latency or loss finds",
        labels=["service", "rule", "verdict"],
    )
    for one in guards:
        family.add_metric([service, one.rule, one.verdict], 1.0)
    yield family


def _reading(reading: ExperimentReading, found: Standing, service: str) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    arms = {"champion": reading.champion, "challenger": reading.challenger}
    yield from _of_arms(arms, service)
    verdict = GaugeMetricFamily(
        "penstock_experiment_verdict", "1 for what it shows, else 0", labels=["service", "verdict"]
    )
    for each in get_args(Verdict):
        verdict.add_metric([service, each], float(each == reading.verdict))
    yield verdict
    difference = GaugeMetricFamily(
        "penstock_experiment_difference",
        "The challenger's mean less the champion's, and its confidence sequence",
        labels=["service", "kpi", "bound"],
    )
    for bound, value in (
        ("value", reading.difference),
        ("low", reading.low),
        ("high", reading.high),
    ):
        if value is not None:
            difference.add_metric([service, found.plan.kpi, bound], value)
    yield difference


def _of_arms(arms: dict[str, ArmReading], service: str) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    users = GaugeMetricFamily(
        "penstock_experiment_users",
        "Users who were given an arm, and those whose window is over and who have a KPI",
        labels=["service", "arm", "count"],
    )
    means = GaugeMetricFamily(
        "penstock_experiment_mean", "Mean of the KPI by user", labels=["service", "arm"]
    )
    for name, arm in arms.items():
        users.add_metric([service, name, "given"], arm.exposed)
        users.add_metric([service, name, "counted"], arm.users)
        if arm.mean is not None:
            means.add_metric([service, name], arm.mean)
    yield users
    yield means
