"""What was left serving on this machine: look at it, stop it."""

from __future__ import annotations

import shutil
from pathlib import Path

from penstock.errors import InputError, PenstockError
from penstock.rollout.router import ServiceStatus, VersionStatus
from penstock.rollout.routers import process, servers
from penstock.rollout.routers.lease import Holder, Lease
from penstock.rollout.routers.loopback import LOOPBACK
from penstock.rollout.routers.state import LocalState, Role, ServerArm, ServiceFolder

_GRACE = 30.0


def status(home: Path) -> list[ServiceStatus]:
    """Return every service that was left serving below `home`, those that died included."""
    states = [(folder, folder.read()) for folder in ServiceFolder.all_below(home)]
    return [_status(folder, state) for folder, state in states if state]


def running_controller(home: Path, service: str) -> Holder | None:
    """Return the process that drives a service now: it holds the lease and is not known dead."""
    found = Lease(ServiceFolder(home, service).path, service=service).read()
    return found.running if found else None


def stop(home: Path, service: str | None = None, *, force: bool = False) -> list[str]:
    """Stop what was left serving below `home`; return what was stopped, in words.

    Models are removed; logs, captures and journals stay, because they are evidence.

    Args:
        home: The folder that deployments were made with.
        service: Only this one; None stops all.
        force: Stop it even if a controller drives it, which then fails at its next action.

    Raises:
        InputError: If there is no service of that name.
        ServiceError: If a controller drives it, naming its process.
    """
    folders = ServiceFolder.all_below(home)
    chosen = [folder for folder in folders if service in (None, folder.service)]
    if service is not None and not chosen:
        known = ", ".join(folder.service for folder in folders) or "none"
        raise InputError(f"no service is called {service!r}", remedy=f"There are: {known}.")
    stopped = []
    for folder in chosen:
        with Lease(folder.path, service=folder.service).held(force=force):
            stopped += _stop(folder)
    return stopped


def _status(folder: ServiceFolder, state: LocalState) -> ServiceStatus:
    needed = [part.process for part in (state.front, state.stable) if part]
    return ServiceStatus(
        service=state.service,
        url=f"http://{LOOPBACK}:{state.port}",
        running=len(needed) == 2 and all(process.is_alive(ref) for ref in needed),
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


def _stop(folder: ServiceFolder) -> list[str]:
    try:
        state = folder.read()
    except PenstockError:
        # A state that cannot be read must not keep its processes alive: they are found below.
        state = None
    # The front first: with it the port goes, and it finishes what it has accepted.
    parts = [(state.front.process, f"port {state.port}")] if state and state.front else []
    parts += [(arm.process, f"version {arm.version}") for arm in state.arms()] if state else []
    stopped = [what for ref, what in parts if process.stop(ref, grace=_GRACE)]
    for stray in process.strays(folder.path, known=[]):
        process.stop(stray, grace=_GRACE)
        stopped.append(f"process {stray.pid}, left behind")
    folder.write(None)
    shutil.rmtree(folder.models, ignore_errors=True)
    return [f"{folder.service}: {what}" for what in stopped]
