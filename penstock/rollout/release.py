"""The first release of the local router: bring a version up, prove it, switch, move the alias."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from penstock import files, model, progress
from penstock.errors import IntegrityError, NotApprovedError, PenstockError
from penstock.records.decision import Decision
from penstock.records.release import Deployment, Registration
from penstock.registry import versions
from penstock.rollout import smoke
from penstock.rollout.router import Release
from penstock.rollout.routers.local import LocalRouter
from penstock.rollout.spec import DeploymentSpec

if TYPE_CHECKING:
    import pyarrow as pa


def deploy(
    registration: Registration,
    *,
    decision: Decision,
    holdout: Path,
    spec: DeploymentSpec,
    home: Path,
    tracking_uri: str,
    output: Path,
) -> Deployment:
    """Serve a registered version on this machine, in the place of the one that serves now.

    The new version gets traffic only after it has answered holdout rows as the model itself does;
    the alias `champion` moves only after the traffic. Whatever fails, the version that served
    before serves on, its alias untouched, and the new one is stopped.

    Args:
        registration: What `register` returned.
        decision: The decision that it was registered with.
        holdout: Dataset folder that the smoke test takes its rows from.
        spec: The project file's section.
        home: Folder that keeps what must outlive this process: state, models and logs.
        tracking_uri: The MLflow store.
        output: File to write the deployment record to.

    Raises:
        NotApprovedError: If the decision does not approve this registration's model.
        IntegrityError: If the registered files are not the ones that were approved.
        ServiceError: If the registry does not answer, the port is in use, or the new server does
            not start or answers otherwise than the model.
    """
    decision.require_approval_of(registration.model)
    if registration.decision != decision.digest():
        raise NotApprovedError(
            f"version {registration.version} was registered with decision "
            f"{registration.decision}, not with this one ({decision.digest()})",
            where=registration.uri,
            remedy="Hand over the decision that the register step was given.",
        )
    sample = smoke.sample_rows(holdout, rows=spec.smoke_rows)
    router = LocalRouter(home, service=registration.name, port=spec.port)
    with router.exclusive():
        try:
            deployment = _release(
                router,
                registration,
                sample=sample,
                spec=spec,
                tracking_uri=tracking_uri,
                output=output,
            )
        finally:
            router.clean_up()
    was = f", took over from version {deployment.previous}" if deployment.previous else ""
    progress.say(f"version {deployment.version} at {deployment.url}{was}")
    return deployment


def _release(
    router: LocalRouter,
    registration: Registration,
    *,
    sample: pa.Table,
    spec: DeploymentSpec,
    tracking_uri: str,
    output: Path,
) -> Deployment:
    release = _fetch(registration, into=router.models, tracking_uri=tracking_uri)
    serves_already = router.serves(release)
    with ThreadPoolExecutor(1) as beside:
        # Most of loading a model is importing its libraries, and so is most of a server's start.
        loading = beside.submit(model.load, release.folder, expected_digest=release.model)
        url = router.deploy(release, timeout=spec.ready_timeout)
    try:
        rows = smoke.check(
            url,
            service=registration.name,
            loaded=loading.result(),
            sample=sample,
            log=router.log_of(release.version),
        )
        router.promote(release.version)
        deployment = Deployment(
            service=registration.name,
            router=spec.router,
            version=release.version,
            uri=release.uri,
            model=release.model,
            url=router.url,
            previous=router.replaced,
            smoke_rows=rows,
            started=datetime.now(UTC),
        )
        deployment.write(output)
        # Last, because it is what the rest of the world goes by and cannot be taken back unseen.
        versions.set_champion(registration.name, release.version, tracking_uri=tracking_uri)
    except BaseException:
        output.unlink(missing_ok=True)
        if not serves_already:
            router.rollback(release.version)
        raise
    return deployment


def _fetch(registration: Registration, *, into: Path, tracking_uri: str) -> Release:
    """Return the registered version with its folder here, checked against the registration."""
    short = registration.model.removeprefix("sha256:")[:12]
    folder = into / f"{registration.version}-{short}"
    if not _holds(folder, registration.model):
        shutil.rmtree(folder, ignore_errors=True)
        versions.fetch(registration.uri, tracking_uri=tracking_uri, destination=folder)
    found = files.digest_of_folder(folder)
    if found != registration.model:
        raise IntegrityError(
            f"the registry holds a model with the digest {found}, "
            f"but {registration.model} was registered",
            where=registration.uri,
            remedy="The artifact was altered after the decision: release again.",
        )
    return Release(
        version=registration.version,
        uri=registration.uri,
        model=registration.model,
        folder=folder,
    )


def _holds(folder: Path, digest: str) -> bool:
    """Return whether the folder is the model already, as when this step is run again."""
    try:
        return files.digest_of_folder(folder) == digest
    except PenstockError:
        return False
