"""Starting and steering the front process of a local service."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from penstock.errors import ServiceError
from penstock.rollout.routers import process
from penstock.rollout.routers.process import LOOPBACK, hold_port
from penstock.rollout.routers.state import Front, ServiceFolder

_READY_TIMEOUT = 30.0


def start_front(folder: ServiceFolder, *, port: int) -> Front:
    """Start the front on `port` (0: a free one); it serves nobody until it is given arms.

    Raises:
        ServiceError: If the port is in use, naming by whom where that is known, or the front does
            not come up; nothing is left running.
    """
    log = folder.log("front")
    with contextlib.ExitStack() as stack:
        public = stack.enter_context(contextlib.closing(_public_socket(folder, port)))
        admin = stack.enter_context(contextlib.closing(hold_port(0)))
        options = {
            "--listen-fd": str(public.fileno()),
            "--token-file": str(folder.token),
            "--admin-fd": str(admin.fileno()),
        }
        ref = process.start(
            "penstock.rollout.routers.splitter",
            [word for pair in options.items() for word in pair],
            log=log,
            sockets=[public, admin],
        )
        front = Front(port=public.getsockname()[1], admin_port=admin.getsockname()[1], process=ref)
    try:
        process.wait_until_ready(
            _admin_url(front),
            ref,
            timeout=_READY_TIMEOUT,
            log=log,
            what="the front process",
            headers=folder.headers(),
        )
    except BaseException:
        process.stop(ref, grace=5)
        raise
    return front


def set_arms(folder: ServiceFolder, front: Front, arms: Sequence[dict[str, Any]]) -> None:
    """Replace the front's table; returns when the new weights are in effect.

    Args:
        folder: The service's folder.
        front: Its front.
        arms: `version`, `url` and `weight` of each.
    """
    _call(folder, front, "PUT", {"arms": arms})


def arms_of(folder: ServiceFolder, front: Front) -> list[dict[str, Any]]:
    """Return the front's table with its counts."""
    arms: list[dict[str, Any]] = _call(folder, front, "GET")["arms"]
    return arms


def _admin_url(front: Front) -> str:
    return f"http://{LOOPBACK}:{front.admin_port}/arms"


def _call(
    folder: ServiceFolder, front: Front, method: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    import httpx

    with httpx.Client(trust_env=False, timeout=10) as client:
        try:
            response = client.request(
                method, _admin_url(front), json=body, headers=folder.headers()
            )
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise ServiceError(
                f"the front process does not obey: {error}",
                where=f"service {folder.service}",
                remedy=f"Read {folder.log('front')}.",
            ) from error
    answer: dict[str, Any] = response.json()
    return answer


def _public_socket(folder: ServiceFolder, port: int) -> socket.socket:
    try:
        held = hold_port(port)
    except OSError as error:
        raise _port_error(folder, port, str(error.strerror)) from error
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1)
        # Some systems let two programs bind one port if only one of them names the address.
        if probe.connect_ex((LOOPBACK, held.getsockname()[1])) == 0:
            held.close()
            raise _port_error(folder, port, "somebody answers there")
    return held


def _port_error(folder: ServiceFolder, port: int, reason: str) -> ServiceError:
    owner = f"another program ({reason})"
    for other in ServiceFolder.all_below(folder.path.parent.parent):
        state = other.read()
        if state and state.front and state.port == port and process.is_alive(state.front.process):
            owner = f"the service {state.service!r}"
    return ServiceError(
        f"port {port} on {LOOPBACK} is in use by {owner}",
        where="deployment.port",
        remedy="Stop it, name another port, or give 0 to take a free one.",
    )
