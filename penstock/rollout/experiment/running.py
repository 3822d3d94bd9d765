"""An experiment from its start to its end: begun or gone on with, stopped, given more users."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from penstock.common.durations import seconds_of
from penstock.errors import InputError
from penstock.metrics.business_value import DecisionValue
from penstock.records.experiment import Experiment, ExperimentOrder, ExperimentPlan
from penstock.records.model import FILE_NAME, Model
from penstock.records.rollout import Order, Rollout
from penstock.registry import versions
from penstock.rollout.experiment.challenger import Holdouts, challenger_of
from penstock.rollout.experiment.controller import ENDING, KEEP, STOP, WEIGHT
from penstock.rollout.experiment.kpi import plan_of
from penstock.rollout.experiment.papers import Place, record_of, write_down
from penstock.rollout.experiment.spec import ExperimentSpec
from penstock.rollout.fetching import fetch
from penstock.rollout.journal import Journal, unfinished
from penstock.rollout.resume import go_on
from penstock.rollout.spec import (
    CanarySpec,
    DeploymentSpec,
    KserveSpec,
    ShadowSpec,
    StepSpec,
    TrafficSpec,
)
from penstock.rollout.target import Target


def run(
    target: Target, *, place: Place, order: Callable[[], ExperimentOrder], wanted: int | None = None
) -> Experiment:
    """Run an experiment to its end, or go on with the one that is not ended, and return its record.

    One that has ended, and whose record a kill kept from being written, is written down instead.

    Args:
        target: Where the service lives.
        place: Where its papers go.
        order: Returns the inputs of a new one; called only where there is none to go on with.
        wanted: The challenger that was named; None: any.

    Raises:
        InputError: If another challenger's experiment, or a rollout, has not ended.
        NotApprovedError: If the challenger may not serve.
        ServiceError: If somebody drives the service, or it cannot be steered.
        KeyboardInterrupt: The experiment goes on without being watched.
    """
    found = _to_its_end(target, place=place, order=order, wanted=wanted)
    assert found is not None
    return found


def _to_its_end(
    target: Target,
    *,
    place: Place,
    order: Callable[[], ExperimentOrder] | None = None,
    wanted: int | None = None,
) -> Experiment | None:
    """Return the record of the experiment that was driven to its end; None: there was none.

    Args:
        target: Where the service lives.
        place: Where its papers go.
        order: As for `run`; None: none is begun.
        wanted: As for `run`.
    """
    target.require_experiments()
    with target.router.exclusive():
        target.router.open()
        left = write_down(target, place)
        if left:
            # It ended before whoever drove it was killed: nobody asked for another one.
            return left[-1]
        journal = _unfinished(target, wanted=wanted)
        if journal is None:
            if order is None:
                return None
            journal = _begin(target, order())
        go_on(target, journal, journal.order)
        write_down(target, place)
    return record_of(journal, place)


def _require_one_server(kserve: KserveSpec) -> None:
    """Refuse versions that have several servers, or get some when load scales them."""
    scaled = kserve.autoscaling
    if scaled is None or scaled.autoscaler == "none":
        count = scaled.min_replicas if scaled else kserve.replicas
        if count == 1:
            return
        has = f"each version has {count}"
    elif scaled.max_replicas == 1:
        return
    else:
        has = "load scales each version's (deployment.kserve.autoscaling)"
    raise InputError(
        f"a label is taken by the one server that answered its row, and {has}",
        where="experiment.kpi",
        remedy="Send the KPI with feedback: experiment.kpi: value; or give each version one "
        "server: deployment.kserve.replicas: 1 and no autoscaling.",
    )


def new_order(
    target: Target,
    *,
    version: int | None,
    spec: ExperimentSpec,
    deployment: DeploymentSpec,
    cost: DecisionValue | None,
    tracking_uri: str,
    by: str,
    holdouts: Holdouts,
) -> ExperimentOrder:
    """Return the inputs of a new experiment; see `challenger_of` for what is raised.

    Args:
        target: Where the service lives.
        version: The challenger's number; None takes the newest that is approved.
        spec: The project's section on experiments.
        deployment: Its section on deployment.
        cost: What the policy says that a decision is worth.
        tracking_uri: The MLflow store.
        by: Who starts it.
        holdouts: Yields folders that may hold the rows of a holdout.
    """
    if spec.kpi == "cost" and deployment.router != "local":
        _require_one_server(deployment.kserve)
    found = challenger_of(
        target, version=version, deployment={}, tracking_uri=tracking_uri, holdouts=holdouts
    )
    registered = versions.registered(found.registration.uri, tracking_uri=tracking_uri)
    release = fetch(registered, into=target.models, tracking_uri=tracking_uri)
    plan = plan_of(spec, model=Model.read(release.folder / FILE_NAME), cost=cost)
    canary = canary_of(deployment.canary, plan, every=seconds_of(spec.every))
    settings = deployment.model_copy(update={"canary": canary})
    fields = {name: getattr(found, name) for name in Order.model_fields}
    fields["deployment"] = settings.model_dump(mode="json")
    return ExperimentOrder(**fields, experiment=plan, by=by)


def stop(target: Target, *, place: Place, by: str, keep: bool) -> Experiment | None:
    """End the experiment: the challenger is promoted where it is shown to be better.

    Args:
        target: Where the service lives.
        place: Where its papers go.
        by: Who stops it.
        keep: Keep the champion, whatever is shown.

    Returns:
        Its record; None if a controller drives it, which does it at once.

    Raises:
        InputError: If there is no experiment.
        ServiceError: If the service cannot be steered.
    """
    journal = _required(target)
    journal.leave(ENDING, f"{KEEP if keep else STOP} {by}")
    if target.driven():
        return None
    # Its controller may have ended it since the look, and so written the record.
    return _to_its_end(target, place=place) or record_of(journal, place)


def set_weight(target: Target, percent: int) -> None:
    """Give the challenger more of the users; its controller does it at its next look.

    Raises:
        InputError: If there is no experiment, or the share is not larger, or above a half.
    """
    journal = _required(target)
    now = journal.rollout.last.weight
    if not now < percent <= 50:
        raise InputError(
            f"the challenger has {now} % of the users, and can only be given more, up to 50 %",
            where=f"service {target.service}",
            remedy="Nobody goes back to the champion while the experiment goes on: end it instead.",
        )
    journal.leave(WEIGHT, str(percent))


def _begin(target: Target, order: ExperimentOrder) -> Journal:
    registration, spec = (
        order.registration,
        DeploymentSpec.parse(order.deployment, where="deployment"),
    )
    identity = f"{registration.version}-experiment-{secrets.token_hex(6)}"
    journal = Journal(target.store(identity))
    champion = target.router.stable
    reason = f"Experiment of {order.by}: version {registration.version} against {champion}."
    journal.begin(
        Rollout(
            identity=identity,
            service=target.service,
            router=target.kind,
            url=target.router.url,
            candidate=registration.version,
            stable=champion,
            purpose="experiment",
            champion=champion,
            uri=registration.uri,
            model=registration.model,
            decision=registration.decision,
            fault=spec.fault_injection,
            started=datetime.now(UTC),
            plan=spec.canary.model_dump(mode="json"),
        ),
        reason=reason,
        order=order,
    )
    return journal


def canary_of(spec: CanarySpec, plan: ExperimentPlan, *, every: float) -> CanarySpec:
    """Return an experiment's plan as the engine of rollouts takes it.

    Args:
        spec: The project's canary: its rules and what aborts it hold for an experiment too.
        plan: The experiment's.
        every: Seconds between two looks.
    """
    return spec.model_copy(
        update={
            "shadow": ShadowSpec(share=0),
            "steps": (StepSpec(weight=plan.weight, max_wait=plan.seconds),),
            "traffic": TrafficSpec(source="live"),
            "interval": every,
            "deadline": plan.seconds,
            "sticky_header": "",
            "choice_header": "",
        }
    )


def _unfinished(target: Target, *, wanted: int | None) -> Journal | None:
    """Return the experiment to go on with; None: there is none.

    Raises:
        InputError: If something else has not ended.
    """
    for journal in unfinished(target.stores()):
        rollout = journal.rollout
        if rollout.purpose != "experiment":
            raise InputError(
                f"the rollout of version {rollout.candidate} has not ended",
                where=f"service {target.service}",
                remedy="End it with: penstock rollout resume, or penstock rollout abort.",
            )
        if wanted not in (None, rollout.candidate):
            raise InputError(
                f"an experiment with version {rollout.candidate} has not ended",
                where=f"service {target.service}",
                remedy="Go on with it: penstock experiment start; end it: penstock experiment "
                "stop.",
            )
        return journal
    return None


def _required(target: Target) -> Journal:
    for journal in unfinished(target.stores()):
        if journal.rollout.purpose == "experiment":
            return journal
    raise InputError(
        "no experiment is under way",
        where=f"service {target.service}",
        remedy="Begin one with: penstock experiment start.",
    )
