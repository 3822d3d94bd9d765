"""Releasing a registered version: what is checked, started and reported around its rollout."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from penstock.common import files, progress
from penstock.common.disk import writing
from penstock.errors import InputError, NotApprovedError, PenstockError, ServiceError
from penstock.records.model import FILE_NAME, Model
from penstock.records.release import Deployment
from penstock.records.rollout import SERVED_LATENCY, HistogramBuckets, Order, Rollout, Transition
from penstock.registry import audit, versions
from penstock.registry.admission import Admission, record_once, require_return
from penstock.registry.audit import Actor
from penstock.registry.by_run import rollout_of
from penstock.registry.champion import checked_champion
from penstock.registry.evidence import keep_rollout
from penstock.rollout.fetching import fetch
from penstock.rollout.journal import Journal, unfinished
from penstock.rollout.notices import Tell, nobody
from penstock.rollout.report import render
from penstock.rollout.resume import REPLAYED_ROWS, go_on, promote, prove, settle
from penstock.rollout.router import Release
from penstock.rollout.spec import DeploymentSpec
from penstock.rollout.target import Target, prune, target_of
from penstock.rollout.words import headline
from penstock.serving import parity_check

_FIRST = "First release: there is no version to compare it with."
_AGAIN = "It is the champion already and was not being served."
_SERVES = "It serves already."
_NOT_ONE = "none"


@dataclass(frozen=True)
class Outputs:
    """Files that a release writes.

    Attributes:
        deployment: The deployment record; absent unless the version was promoted.
        rollout: The rollout record.
        report: The timeline, as HTML.
    """

    deployment: Path
    rollout: Path
    report: Path


def deploy(order: Order, *, home: Path, run: str, outputs: Outputs, tell: Tell = nobody) -> Rollout:
    """Bring a registered version to users, and return how that went.

    The first version of a service takes all traffic once it has answered holdout rows as the
    model itself does. A later one goes through the plan of `deployment.canary` beside the version
    that serves, and is promoted or rolled back. The alias `champion` moves last, if at all.

    What lets the version in is checked before every move and at every poll: `registry.admission`.

    Calling it again with the same order and run goes on where a killed controller stood, or
    returns what that rollout came to. An unfinished rollout of another version is ended first.

    Args:
        order: What is to be released, and how.
        home: Folder that keeps what must outlive this process where it serves on this machine:
            state, models, journals, logs. A service on a cluster keeps them there.
        run: Names the pipeline run: another run may try the same version again.
        outputs: Where to write the records and the report.
        tell: Notifies people that a step with `hold: true` waits for them.

    Raises:
        NotApprovedError: If the decision does not approve this registration's model, or people
            whom the policy requires have not.
        IntegrityError: If the registered files are not the ones that were approved, or the
            decision is not of what is kept, or the champion is another than it compared with.
        ServiceError: If the port or the service is somebody else's, the registry does not answer,
            or the service can be neither steered nor mended.
    """
    spec = DeploymentSpec.parse(order.deployment, where="deployment")
    name = order.registration.name
    target = target_of(spec, service=name, home=home, tracking_uri=order.tracking_uri)
    return release(target, order, run=run, outputs=outputs, tell=tell)


def release(
    target: Target, order: Order, *, run: str, outputs: Outputs, tell: Tell = nobody
) -> Rollout:
    """Do as `deploy` says, at a target."""
    # What an earlier attempt left there must not be taken for the outcome of this one.
    with writing(outputs.deployment):
        outputs.deployment.unlink(missing_ok=True)
    spec = DeploymentSpec.parse(order.deployment, where="deployment")
    identity = identity_of(order, run=run)
    if not Journal(target.store(identity)).exists:
        # Before anything is touched; a rollout that has begun is ended whatever is thought of it.
        Admission(order).require()
    with target.router.exclusive():
        _require_no_experiment(target)
        settle(target, reason=_taken(order), but=identity)
        journal = Journal(target.store(identity))
        try:
            rollout = _run(target, journal, order, spec=spec, tell=tell)
        except BaseException:
            # What ended it is reported; its record shows how far it came.
            with contextlib.suppress(PenstockError):
                if journal.exists:
                    _write(journal.rollout, outputs)
            raise
        _write(rollout, outputs)
        if rollout.outcome == "promoted":
            # A cluster may give a service its address only now.
            made = _deployment(rollout, url=target.router.url, spec=spec)
            with writing(outputs.deployment):
                made.write(outputs.deployment)
        _keep(rollout, outputs, tracking_uri=order.tracking_uri)
        _prune(target, keep=spec.history)
    progress.say(headline(rollout))
    return rollout


def identity_of(order: Order, *, run: str) -> str:
    """Return the name of a rollout: the same for the same version, decision and run."""
    given = order.registration
    return rollout_of(run, version=given.version, model=given.model, decision=given.decision)


def _run(
    target: Target, journal: Journal, order: Order, *, spec: DeploymentSpec, tell: Tell
) -> Rollout:
    if journal.exists:
        if not journal.rollout.ended:
            target.router.open()
            return go_on(target, journal, order, tell=tell)
        return journal.rollout
    Admission(order).require()
    _require_registry(target, order)
    if target.router.stable == order.registration.version:
        return _check_again(target, order, spec=spec)
    return _begin(target, journal, order, spec=spec, tell=tell)


def _begin(
    target: Target, journal: Journal, order: Order, *, spec: DeploymentSpec, tell: Tell
) -> Rollout:
    target.router.open()
    # What is fetched before the champion is brought up would be cleaned up with it.
    direct = _serve_champion(target, order, spec=spec)
    release = release_of(target, order, fault=spec.fault_injection)
    if direct and spec.fault_injection:
        raise InputError(
            f"fault injection needs a champion to compare with. {direct}",
            where="deployment.fault_injection",
            remedy="Release a version without it first.",
        )
    journal.begin(
        _planned(target, release, order, spec=spec, name=journal.name, direct=direct),
        reason="Approved by the gate and registered.",
        order=order,
    )
    return go_on(target, journal, order, tell=tell)


def _require_no_experiment(target: Target) -> None:
    for journal in unfinished(target.stores()):
        if journal.rollout.purpose == "experiment":
            raise ServiceError(
                f"an experiment with version {journal.rollout.candidate} has not ended, and a "
                "release would change what its users get",
                where=f"service {target.service}",
                remedy="End it first with: penstock experiment stop.",
            )


def _taken(order: Order) -> str:
    return f"Version {order.registration.version} took its place before it was done."


def _keep(rollout: Rollout, outputs: Outputs, *, tracking_uri: str) -> None:
    """Keep the record with the version. A release that stands is not undone for its papers."""
    if rollout.outcome is None or not rollout.transitions or rollout.identity == _NOT_ONE:
        return
    try:
        keep_rollout(rollout, tracking_uri=tracking_uri, others={"rollout.html": outputs.report})
    except PenstockError as error:
        progress.say(f"the rollout's record could not be kept with the version: {error}")


def _prune(target: Target, *, keep: int) -> None:
    try:
        prune(target, keep=keep)
    except ServiceError as error:
        progress.say(f"old rollouts could not be deleted: {error}")


def _require_registry(target: Target, order: Order) -> None:
    """Refuse a service whose stable version has other files than the registry's of that number.

    It was released from another registry or workspace, so what a canary would compare the candidate
    with is nothing that this registry, or its gate, knows.
    """
    name, stable = order.registration.name, target.router.stable
    if stable is None:
        return
    try:
        known = versions.registered(f"models:/{name}/{stable}", tracking_uri=order.tracking_uri)
    except InputError:
        # It was deleted there: that is no reason to serve nothing newer.
        return
    if known.model != target.router.stable_model:
        raise InputError(
            f"version {stable} serves from other files than those of models:/{name}/{stable}",
            where=f"service {name}",
            remedy="Either it was released from another registry or MLflow workspace: name that "
            "one by MLFLOW_TRACKING_URI or MLFLOW_WORKSPACE, or give this project a folder, on a "
            "cluster a namespace, of its own. Or the registry was restored from a backup: serve a "
            "version first that both have, by penstock rollback --to VERSION (docs/backup.md). Or "
            f"what it says of the version was altered: penstock verify models:/{name}/{stable} "
            "shows that.",
        )


def _planned(
    target: Target,
    release: Release,
    order: Order,
    *,
    spec: DeploymentSpec,
    name: str,
    direct: str,
) -> Rollout:
    return Rollout(
        identity=name,
        service=order.registration.name,
        router=target.kind,
        url=target.router.url,
        candidate=release.version,
        stable=target.router.stable,
        champion=_champion(order),
        uri=release.uri,
        model=release.model,
        decision=order.registration.decision,
        fault=spec.fault_injection,
        direct=direct,
        started=datetime.now(UTC),
        plan=spec.canary.model_dump(mode="json"),
        grids=_grids(Model.read(release.folder / FILE_NAME), Path(order.holdout), spec=spec),
    )


def _serve_champion(target: Target, order: Order, *, spec: DeploymentSpec) -> str:
    """Have the champion serve, so that it is what the candidate is compared with.

    Returns why the candidate takes all traffic without a comparison; empty: it does not.
    """
    name, stable = order.registration.name, target.router.stable
    champion = _champion(order)
    if champion in (stable, order.registration.version, None):
        if stable is not None:
            return ""
        return _FIRST if champion is None else _AGAIN
    try:
        found = require_return(name, champion, tracking_uri=order.tracking_uri)
    except NotApprovedError as error:
        raise NotApprovedError(
            f"champion {champion} does not serve here and may not be brought up to compare with: "
            f"{error.what}",
            where=error.where,
            remedy="Whoever rejected it approves it, or go back to an earlier champion with: "
            "penstock rollback. Then evaluate and decide again.",
        ) from error
    progress.say(f"bringing champion {champion} up again, to compare with")
    release = fetch(found, into=target.models, tracking_uri=order.tracking_uri)
    record_once(
        found,
        event=audit.ADMITTED,
        identity=f"{champion}-again-{secrets.token_hex(6)}",
        facts={"move": "brought up again"},
        actor=Actor(name=audit.RELEASE, reason="It is the champion."),
        tracking_uri=order.tracking_uri,
    )
    target.router.deploy(release, timeout=spec.ready_timeout)
    target.router.promote(champion)
    target.router.clean_up()
    return ""


def _champion(order: Order) -> int | None:
    name = order.registration.name
    found = checked_champion(name, tracking_uri=order.tracking_uri).require_recorded(name)
    return None if found is None else found.version


def release_of(target: Target, order: Order, *, fault: str = "") -> Release:
    """Return the version that is ordered, fetched and checked."""
    version = versions.registered(order.registration.uri, tracking_uri=order.tracking_uri)
    return fetch(version, into=target.models, tracking_uri=order.tracking_uri, fault=fault)


def _check_again(target: Target, order: Order, *, spec: DeploymentSpec) -> Rollout:
    """Return the record of a release of the version that is stable: nothing moves."""
    release = release_of(target, order)
    address = target.router.deploy(release, timeout=spec.ready_timeout)
    prove(target.router, address, order, release, rows=spec.smoke_rows)
    promote(order, reason=_SERVES)
    planned = _planned(target, release, order, spec=spec, name=_NOT_ONE, direct=_SERVES)
    now = datetime.now(UTC)
    moves = [
        Transition(sequence=index, time=now, phase=phase, weight=100, reason=_SERVES)
        for index, phase in enumerate(("deploy", "promote", "done"))
    ]
    return planned.model_copy(
        update={"outcome": "promoted", "reason": _SERVES, "transitions": tuple(moves)}
    )


def _grids(record: Model, holdout: Path, *, spec: DeploymentSpec) -> HistogramBuckets:
    """Return the edges for a model's scores: those of a probability, or of the target's values.

    Where nothing is measured but what a cluster's servers count, latency has their edges.
    """
    live = spec.router != "local" and spec.canary.traffic.source == "live"
    if record.task != "regression":
        served = spec.kserve.prometheus.latency_edges or SERVED_LATENCY
        return HistogramBuckets(latency=served) if live else HistogramBuckets()
    if live:
        raise InputError(
            "the scores of a regression are too coarse in a server's figures to be compared",
            where="deployment.canary.traffic.source",
            remedy="Set it to both.",
        )
    values = parity_check.sample_rows(holdout, rows=REPLAYED_ROWS)[record.target]
    known = sorted(float(value) for value in values if value is not None)
    cuts = {known[len(known) * index // 50] for index in range(1, 50)} if known else set()
    return HistogramBuckets(scores=tuple(sorted(cuts))) if cuts else HistogramBuckets()


def _deployment(rollout: Rollout, *, url: str, spec: DeploymentSpec) -> Deployment:
    return Deployment(
        service=rollout.service,
        router=rollout.router,
        version=rollout.candidate,
        uri=rollout.uri,
        model=rollout.model,
        url=url,
        previous=rollout.stable if rollout.stable != rollout.candidate else None,
        smoke_rows=spec.smoke_rows,
        started=rollout.last.time,
        rollout=rollout.digest(),
    )


def _write(rollout: Rollout, outputs: Outputs) -> None:
    with writing(outputs.rollout):
        rollout.write(outputs.rollout)
    with writing(outputs.report):
        files.write_text(outputs.report, render(rollout))
