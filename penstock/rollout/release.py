"""Releasing a registered version: what is checked, brought up and told around its rollout."""

from __future__ import annotations

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from penstock import files, progress
from penstock.errors import InputError, IntegrityError, PenstockError
from penstock.records.model import FILE_NAME, Model
from penstock.records.release import Deployment
from penstock.records.rollout import SERVED_LATENCY, Grids, Order, Rollout, Transition
from penstock.registry import versions
from penstock.registry.audit import Word
from penstock.registry.evidence import keep_rollout
from penstock.rollout import permit, smoke
from penstock.rollout.engine import Actions, Controller, give_up
from penstock.rollout.fetching import fetch
from penstock.rollout.journal import Journal
from penstock.rollout.place import Place, place_of, unfinished
from penstock.rollout.report import render
from penstock.rollout.router import Address, Release, Router
from penstock.rollout.spec import CanarySpec, DeploymentSpec
from penstock.rollout.words import headline
from penstock.serving import questions

ROLLED_BACK = "penstock.rolled_back"
"""Tag of a version that was rolled back: the reason."""

_REPLAYED_ROWS = 5_000
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


def deploy(order: Order, *, home: Path, run: str, outputs: Outputs) -> Rollout:
    """Bring a registered version to users, and return how that went.

    The first version of a service takes all traffic once it has answered holdout rows as the
    model itself does. A later one goes through the plan of `deployment.canary` beside the version
    that serves, and is promoted or rolled back. The alias `champion` moves last, if at all.

    Calling it again with the same order and run goes on where a killed controller stood, or
    returns what that rollout came to. An unfinished rollout of another version is rolled back.

    Args:
        order: What is to be released, and how.
        home: Folder that keeps what must outlive this process where it serves on this machine:
            state, models, journals, logs. A service on a cluster keeps them there.
        run: Names the pipeline run: another run may try the same version again.
        outputs: Where to write the records and the report.

    Raises:
        NotApprovedError: If the decision does not approve this registration's model, or people
            whom the policy asks have not.
        IntegrityError: If the registered files are not the ones that were approved, or the
            decision is not of what is kept, or the champion is another than it compared with.
        ServiceError: If the port or the service is somebody else's, the registry does not answer,
            or the service can be neither steered nor mended.
    """
    registration = order.registration
    # What an earlier attempt left there must not be taken for the outcome of this one.
    outputs.deployment.unlink(missing_ok=True)
    permit.require(order)
    spec = DeploymentSpec.parse(order.deployment, where="deployment")
    place = place_of(spec, service=registration.name, home=home, tracking_uri=order.tracking_uri)
    with place.router.exclusive():
        journal = Journal(place.store(identity(order, run=run)))
        if not journal.exists:
            permit.require_current(order)
        _finish_others(place, journal, order=order)
        if journal.exists and journal.rollout.outcome is not None:
            rollout = journal.rollout
        elif not journal.exists and place.router.stable == registration.version:
            rollout = _check_again(place, order, spec=spec)
        else:
            try:
                rollout = _roll_out(place, journal, order, spec=spec)
            finally:
                if journal.exists:
                    _write(journal.rollout, outputs)
        _write(rollout, outputs)
        if rollout.outcome == "promoted":
            # A cluster may give a service its address only now.
            made = _deployment(rollout, url=place.router.url, spec=spec)
            made.write(outputs.deployment)
        _keep(rollout, outputs, tracking_uri=order.tracking_uri)
    progress.say(headline(rollout))
    return rollout


def identity(order: Order, *, run: str) -> str:
    """Return the name of a rollout: the same for the same version, decision and run."""
    registration = order.registration
    digest = files.digest_of_text("\n".join((registration.model, registration.decision, run)))
    return f"{registration.version}-{digest.removeprefix('sha256:')[:12]}"


def go_on(router: Router, journal: Journal, order: Order, release: Release) -> Rollout:
    """Run a rollout that has begun to its end, with the traffic that its plan names."""
    spec = DeploymentSpec.parse(order.deployment, where="deployment")
    name, version = order.registration.name, release.version

    controller = Controller(
        router=router,
        journal=journal,
        release=release,
        plan=CanarySpec.model_validate(journal.rollout.plan),
        task=Model.read(release.folder / FILE_NAME).task,
        actions=Actions(
            prove=lambda address: _prove(router, address, order, release, rows=spec.smoke_rows),
            promoted=lambda: versions.set_champion(
                name,
                version,
                tracking_uri=order.tracking_uri,
                event="promoted",
                word=_word(order, journal.rollout.last.reason),
            ),
            rolled_back=lambda reason: _note(journal.rollout, order, reason),
        ),
        ready_timeout=spec.ready_timeout,
    )
    with _traffic(router, journal, order, folder=release.folder):
        return controller.run()


def abandon(router: Router, journal: Journal, *, reason: str) -> Rollout:
    """Roll back a rollout that has begun and is not done."""
    order = journal.order
    return give_up(
        router,
        journal,
        version=journal.rollout.candidate,
        note=lambda why: _note(journal.rollout, order, why) if order else None,
        reason=reason,
    )


def _note(rollout: Rollout, order: Order, reason: str) -> None:
    """Tag a version that was rolled back, and see to it that it is not the champion."""
    name, store = rollout.service, order.tracking_uri
    champion = versions.champion(name, tracking_uri=store)
    word = Word(by="the rules of the canary", reason=reason)
    if champion and champion.version == rollout.candidate and rollout.stable is not None:
        versions.set_champion(
            name, rollout.stable, tracking_uri=store, event="rolled back", word=word
        )
    versions.tag(name, rollout.candidate, {ROLLED_BACK: reason}, tracking_uri=store)
    versions.write_down(name, rollout.candidate, "rolled back", word=word, tracking_uri=store)


def _word(order: Order, reason: str) -> Word:
    digests = {"model": order.registration.model, "decision": order.registration.decision}
    return Word(by="the decision and the rules of the canary", reason=reason, digests=digests)


def _keep(rollout: Rollout, outputs: Outputs, *, tracking_uri: str) -> None:
    """Keep the record with the version. A release that stands is not undone for its papers."""
    if rollout.outcome is None or not rollout.transitions or rollout.identity == _NOT_ONE:
        return
    try:
        keep_rollout(rollout, tracking_uri=tracking_uri, others={"rollout.html": outputs.report})
    except PenstockError as error:
        progress.say(f"the rollout's record could not be kept with the version: {error}")


def _roll_out(place: Place, journal: Journal, order: Order, *, spec: DeploymentSpec) -> Rollout:
    place.router.open()
    drill = journal.rollout.drill if journal.exists else spec.drill
    release = release_of(place, order, drill=drill)
    if not journal.exists:
        direct = _restore_champion(place, order, spec=spec)
        if direct and spec.drill:
            raise InputError(
                f"a drill needs a champion beside it. {direct}",
                where="deployment.drill",
                remedy="Release a version without a drill first.",
            )
        journal.begin(
            _planned(place, release, order, spec=spec, name=journal.name, direct=direct),
            reason="Approved by the gate and registered.",
            order=order,
        )
    return go_on(place.router, journal, order, release)


def _planned(
    place: Place,
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
        router=place.kind,
        url=place.router.url,
        candidate=release.version,
        stable=place.router.stable,
        uri=release.uri,
        model=release.model,
        decision=order.registration.decision,
        drill=spec.drill,
        direct=direct,
        started=datetime.now(UTC),
        plan=spec.canary.model_dump(mode="json"),
        grids=_grids(Model.read(release.folder / FILE_NAME), Path(order.holdout), spec=spec),
    )


def _restore_champion(place: Place, order: Order, *, spec: DeploymentSpec) -> str:
    """Serve the champion if nothing serves, so that there is something to compare with.

    Returns why the candidate takes all traffic without a comparison; empty: it does not.
    """
    if place.router.stable is not None:
        return ""
    name = order.registration.name
    champion = versions.champion(name, tracking_uri=order.tracking_uri)
    if champion is None:
        return _FIRST
    if champion.version == order.registration.version:
        return _AGAIN
    progress.say(f"bringing champion {champion.version} up again, to compare with")
    release = fetch(champion, into=place.models, tracking_uri=order.tracking_uri)
    place.router.deploy(release, timeout=spec.ready_timeout)
    place.router.promote(release.version)
    return ""


def release_of(place: Place, order: Order, *, drill: str = "") -> Release:
    """Return the version that is ordered, fetched and checked against its registration."""
    registration = order.registration
    version = versions.registered(registration.uri, tracking_uri=order.tracking_uri)
    if (version.model, version.export) != (registration.model, registration.export):
        raise IntegrityError(
            f"the registry names model {version.model} and export {version.export or 'none'}, but "
            f"{registration.model} and {registration.export or 'none'} were registered",
            where=registration.uri,
            remedy="Its tags were altered after the decision: release again.",
        )
    return fetch(version, into=place.models, tracking_uri=order.tracking_uri, drill=drill)


def _prove(router: Router, address: Address, order: Order, release: Release, *, rows: int) -> None:
    with ThreadPoolExecutor(1) as beside:
        # Most of loading a model is importing its libraries, and reading rows costs as much again.
        scorer = beside.submit(smoke.scorer_of, release)
        sample = questions.sample_rows(Path(order.holdout), rows=rows)
        smoke.check(
            address,
            service=order.registration.name,
            scorer=scorer.result(),
            sample=sample,
            log=lambda: router.log(release.version),
        )


def _check_again(place: Place, order: Order, *, spec: DeploymentSpec) -> Rollout:
    """Return the record of a release of the version that is stable: nothing moves."""
    release = release_of(place, order)
    address = place.router.deploy(release, timeout=spec.ready_timeout)
    _prove(place.router, address, order, release, rows=spec.smoke_rows)
    versions.set_champion(
        order.registration.name,
        release.version,
        tracking_uri=order.tracking_uri,
        event="promoted",
        word=_word(order, _SERVES),
    )
    planned = _planned(place, release, order, spec=spec, name=_NOT_ONE, direct=_SERVES)
    now = datetime.now(UTC)
    moves = [
        Transition(sequence=index, time=now, phase=phase, weight=100, reason=_SERVES)
        for index, phase in enumerate(("deploy", "promote", "done"))
    ]
    return planned.model_copy(
        update={"outcome": "promoted", "reason": _SERVES, "transitions": tuple(moves)}
    )


def _finish_others(place: Place, mine: Journal, *, order: Order) -> None:
    """Roll back what another controller left half-way: it holds the service no more."""
    reason = f"Version {order.registration.version} took its place before it was done."
    for journal in unfinished(place):
        if journal.name != mine.name:
            abandon(place.router, journal, reason=reason)


def _traffic(
    router: Router, journal: Journal, order: Order, *, folder: Path
) -> AbstractContextManager[object]:
    plan = CanarySpec.model_validate(journal.rollout.plan)
    if plan.traffic.source == "live" or journal.rollout.direct or journal.rollout.outcome:
        return contextlib.nullcontext()
    sample = questions.sample_rows(Path(order.holdout), rows=_REPLAYED_ROWS)
    names = [column.name for column in Model.read(folder / FILE_NAME).columns]
    bodies = [
        json.dumps({"instances": [row]}, ensure_ascii=False).encode()
        for row in questions.as_instances(sample.select(names))
    ]
    return router.replay(bodies, rate=plan.traffic.rate)


def _grids(record: Model, holdout: Path, *, spec: DeploymentSpec) -> Grids:
    """Return the edges for a model's scores: those of a probability, or of the target's values.

    Where nothing is measured but what a cluster's servers count, latency has their edges.
    """
    live = spec.router != "local" and spec.canary.traffic.source == "live"
    if record.task != "regression":
        served = spec.kserve.prometheus.latency_edges or SERVED_LATENCY
        return Grids(latency=served) if live else Grids()
    if live:
        raise InputError(
            "the scores of a regression are too coarse in a server's figures to be compared",
            where="deployment.canary.traffic.source",
            remedy="Set it to both.",
        )
    values = questions.sample_rows(holdout, rows=_REPLAYED_ROWS).column(record.target).to_pylist()
    known = sorted(float(value) for value in values if value is not None)
    cuts = {known[len(known) * index // 50] for index in range(1, 50)} if known else set()
    return Grids(scores=tuple(sorted(cuts))) if cuts else Grids()


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
    rollout.write(outputs.rollout)
    files.write_text(outputs.report, render(rollout))
