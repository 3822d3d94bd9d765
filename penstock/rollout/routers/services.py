"""What was left serving on this machine: look at it, stop it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import InputError, PenstockError
from penstock.rollout.routers import process
from penstock.rollout.routers.process import LOOPBACK
from penstock.rollout.routers.state import LocalState, ServiceFolder

_GRACE = 30.0


@dataclass(frozen=True)
class ServiceStatus:
    """What one service is doing.

    Attributes:
        service: Its name.
        url: Where it answers.
        running: Whether its front and its stable version run.
        stable: The version that it falls back to, or None.
        weights: Share of new requests by version, in percent.
        logs: Folder of its logs.
    """

    service: str
    url: str
    running: bool
    stable: int | None
    weights: Mapping[int, int]
    logs: Path


def status(home: Path) -> list[ServiceStatus]:
    """Return every service that was left serving below `home`, those that died included."""
    states = [(folder, folder.read()) for folder in ServiceFolder.all_below(home)]
    return [_status(folder, state) for folder, state in states if state]


def stop(home: Path, service: str | None = None) -> list[str]:
    """Stop what was left serving below `home`; return what was stopped, in words.

    Args:
        home: The folder that deployments were made with.
        service: Only this one; None stops all.

    Raises:
        InputError: If there is no service of that name.
        ServiceError: If a deployment of it is under way.
    """
    folders = ServiceFolder.all_below(home)
    chosen = [folder for folder in folders if service in (None, folder.service)]
    if service is not None and not chosen:
        known = ", ".join(folder.service for folder in folders) or "none"
        raise InputError(f"no service is called {service!r}", remedy=f"There are: {known}.")
    stopped = []
    for folder in chosen:
        with folder.locked():
            stopped += _stop(folder)
    return stopped


def _status(folder: ServiceFolder, state: LocalState) -> ServiceStatus:
    needed = [part.process for part in (state.front, state.stable) if part]
    return ServiceStatus(
        service=state.service,
        url=f"http://{LOOPBACK}:{state.port}",
        running=len(needed) == 2 and all(process.is_alive(ref) for ref in needed),
        stable=state.stable.version if state.stable else None,
        weights={arm.version: state.weight_of(arm) for arm in state.arms()},
        logs=folder.path,
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
