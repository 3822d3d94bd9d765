"""What was left serving on this machine: look at it, stop it."""

from __future__ import annotations

import shutil
from pathlib import Path

from penstock.errors import InputError, PenstockError
from penstock.processes import supervisor as process
from penstock.processes.loopback import LOOPBACK
from penstock.rollout.backends.local import servers, strays
from penstock.rollout.backends.local.lease import FileLease, Holder
from penstock.rollout.backends.local.state import LocalState, ServerArm, ServiceFolder
from penstock.rollout.router import ServiceStatus, VersionStatus
from penstock.rollout.state import Role

_GRACE = 30.0


def status(home: Path) -> list[ServiceStatus]:
    """Return every service that was left serving below `home`, those that died included.

    One whose state cannot be read is there too, as one that does not run, with the reason.
    """
    found = [_found(folder) for folder in ServiceFolder.all_below(home)]
    return [each for each in found if each]


def running_controller(home: Path, service: str) -> Holder | None:
    """Return the process that drives a service now: it holds the lease and is not known dead.

    Of a process on another machine only renewals show it, which takes up to half a minute.
    """
    return FileLease(ServiceFolder(home, service).path, service=service).holder()


def stop(home: Path, service: str | None = None, *, force: bool = False) -> list[str]:
    """Stop what was left serving below `home`; return what was stopped, in words.

    Models are removed; logs, captures and journals stay, because they are evidence. One that cannot
    be stopped does not keep the others running: its error is raised when they are stopped.

    Args:
        home: The folder that deployments were made with.
        service: Only this one; None stops all.
        force: Stop it even if a controller drives it, which then fails at its next action.

    Raises:
        InputError: If there is no service of that name.
        ServiceError: If a controller drives it, naming its process, or it cannot be stopped.
    """
    folders = ServiceFolder.all_below(home)
    chosen = [folder for folder in folders if service in (None, folder.service)]
    if service is not None and not chosen:
        known = ", ".join(folder.service for folder in folders) or "none"
        raise InputError(f"no service is called {service!r}", remedy=f"There are: {known}.")
    stopped: list[str] = []
    refused: list[PenstockError] = []
    for folder in chosen:
        lease = FileLease(folder.path, service=folder.service)
        try:
            with lease.taken() if force else lease.held():
                lease.outdo(folder.term())
                stopped += _stop(folder, lease)
        except PenstockError as error:
            refused.append(error)
    if refused:
        raise refused[0]
    return stopped


def _found(folder: ServiceFolder) -> ServiceStatus | None:
    try:
        state = folder.read()
    except PenstockError as error:
        return ServiceStatus(
            service=folder.service,
            url=f"(unknown: {error})",
            running=False,
            stable=None,
            weights={},
            versions=(),
            logs=str(folder.path),
        )
    return _status(folder, state) if state else None


def _status(folder: ServiceFolder, state: LocalState) -> ServiceStatus:
    return ServiceStatus(
        service=state.service,
        url=f"http://{LOOPBACK}:{state.port}",
        running=bool(
            state.proxy
            and process.is_alive(state.proxy.process)
            and state.stable
            and state.stable.alive
        ),
        stable=state.stable.version if state.stable else None,
        weights={arm.version: state.weight_of(role) for role, arm in state.roles().items()},
        versions=tuple(_version(folder, state, role, arm) for role, arm in state.roles().items()),
        logs=str(folder.path),
    )


def _version(folder: ServiceFolder, state: LocalState, role: Role, arm: ServerArm) -> VersionStatus:
    return VersionStatus(
        version=arm.version,
        role=role,
        weight=state.weight_of(role),
        url=arm.url,
        health=servers.health_of(folder, arm),
    )


def _stop(folder: ServiceFolder, lease: FileLease) -> list[str]:
    try:
        state = folder.read()
    except PenstockError:
        # A state that cannot be read must not keep its processes alive: they are found below.
        state = None
    # The proxy first: with it the port goes, and it finishes what it has accepted.
    parts = [(state.proxy.process, f"port {state.port}")] if state and state.proxy else []
    up = (*state.arms(), *state.passing) if state else ()
    parts += [(arm.process, f"version {arm.version}") for arm in up if arm.process]
    stopped = []
    for ref, what in parts:
        lease.check()
        if process.stop(ref, grace=_GRACE):
            stopped.append(what)
    for stray in strays.strays(folder.path, known=[]):
        process.stop(stray, grace=_GRACE)
        stopped.append(f"process {stray.pid}, left behind")
    folder.write(None, lease=lease)
    shutil.rmtree(folder.models, ignore_errors=True)
    return [f"{folder.service}: {what}" for what in stopped]
