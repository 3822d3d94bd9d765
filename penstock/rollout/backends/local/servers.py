"""The server processes of a local service: starting one, and looking at it."""

from __future__ import annotations

import contextlib
import secrets
import sys
from pathlib import Path

from penstock.captures.files import Bounds
from penstock.captures.spec import CapturesSpec
from penstock.processes import logs
from penstock.processes import supervisor as process
from penstock.processes.loopback import LOOPBACK
from penstock.processes.supervisor import ProcessRef, hold_port
from penstock.rollout.backends.local.state import ServerArm, ServiceFolder
from penstock.rollout.router import Health
from penstock.serving import feature_options
from penstock.serving.request_headers import digest_of

_PROBE_TIMEOUT = 3.0


def bring_up(folder: ServiceFolder, arm: ServerArm, *, timeout: float) -> ServerArm:
    """Start a version's server and return when it is ready; its log begins anew.

    Raises:
        ServiceError: If it does not become ready; nothing is left running.
    """
    log = log_of(folder, arm.version)
    # Where it cannot be put aside, it goes on.
    with contextlib.suppress(OSError):
        log.replace(log.with_suffix(".log.1"))
    port, server = _start(folder, arm, timeout=timeout)
    fresh = {"identity": secrets.token_hex(8), "port": port, "process": server}
    return arm.at_rest().model_copy(update=fresh)


def bring_back(folder: ServiceFolder, arm: ServerArm, *, timeout: float) -> ServerArm:
    """Start the server of a version that died; its log goes on.

    Raises:
        ServiceError: If it does not become ready; nothing is left running.
    """
    port, server = _start(folder, arm, timeout=timeout)
    return arm.model_copy(update={"port": port, "process": server, "death_counted": False})


def log_of(folder: ServiceFolder, version: int) -> Path:
    """Return the log of a version's server."""
    return folder.log(f"version-{version}")


def health_of(folder: ServiceFolder, arm: ServerArm) -> Health:
    """Return how a server is; a death that nobody has counted yet is counted."""
    if arm.process is None or not process.is_alive(arm.process):
        ending = logs.tail(log_of(folder, arm.version))
        return Health(
            ready=False,
            restarts=arm.deaths,
            memory=None,
            reason=f"Its process ended. Its log ends: {ending}",
        )
    ready = process.answers(arm.port, _ready_path(folder, arm.version), timeout=_PROBE_TIMEOUT)
    ending = "" if ready else logs.tail(log_of(folder, arm.version))
    return Health(
        ready=ready,
        restarts=arm.restarts,
        memory=process.memory_of(arm.process),
        reason="" if ready else f"It does not answer its readiness probe. Its log ends: {ending}",
    )


def _start(folder: ServiceFolder, arm: ServerArm, *, timeout: float) -> tuple[int, ProcessRef]:
    log = log_of(folder, arm.version)
    with contextlib.closing(hold_port(0)) as held:
        port = int(held.getsockname()[1])
        if sys.platform != "linux":
            # Elsewhere SO_REUSEADDR does not let the server bind a port that is still held.
            held.close()
        module, options = _command(folder, arm, port=port)
        server = process.start(module, [word for pair in options.items() for word in pair], log=log)
        try:
            process.wait_until_ready(
                port,
                _ready_path(folder, arm.version),
                server,
                timeout=timeout,
                log=log,
                what=f"the server of version {arm.version}",
                remedy="Raise deployment.ready_timeout if it only needs longer.",
            )
        except BaseException:
            process.stop(server, grace=5)
            raise
    return port, server


def _command(folder: ServiceFolder, arm: ServerArm, *, port: int) -> tuple[str, dict[str, str]]:
    options = {
        "--model": arm.folder,
        "--name": folder.service,
        "--version": str(arm.version),
        "--digest": arm.model,
        "--host": LOOPBACK,
        "--port": str(port),
        "--capture": str(folder.captures(arm.version)),
        **_capture_options(folder.capture_settings),
        **feature_options.arguments(folder.features),
        "--own-traffic": digest_of(folder.key()),
        "--log": str(log_of(folder, arm.version)),
    }
    if arm.export:
        options["--export"] = arm.export
    if folder.trusted_keys is not None:
        options["--trust"] = str(folder.trusted_keys)
    if arm.fault:
        return "penstock.serving.fault_injection", {"--fault": arm.fault, **options}
    return "penstock.serving", options


def _capture_options(settings: CapturesSpec) -> dict[str, str]:
    bounds = Bounds.of(megabytes=settings.megabytes, days=settings.days)
    return {
        "--capture-files": str(bounds.files),
        "--capture-bytes": str(bounds.file_bytes),
        "--capture-days": f"{settings.days:g}",
        "--capture-sample": f"{settings.sample:g}",
    }


def _ready_path(folder: ServiceFolder, version: int) -> str:
    return f"/v2/models/{folder.service}/versions/{version}/ready"
