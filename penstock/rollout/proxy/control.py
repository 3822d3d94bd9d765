"""Starting and controlling the proxy of a local service."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any

from penstock.errors import LeaseLostError, ServiceError
from penstock.processes import supervisor as process
from penstock.processes.loopback import LOOPBACK, ask
from penstock.processes.supervisor import hold_port
from penstock.records.rollout import ArmSummary, HistogramBuckets, Pairs
from penstock.rollout.backends.local.state import LocalState, ProxyProcess, ServiceFolder
from penstock.rollout.router import Observation

_READY_TIMEOUT = 30.0
_TABLE = "/table"
_LOG = "proxy"


def start(folder: ServiceFolder, *, port: int) -> ProxyProcess:
    """Start the proxy on `port` (0: a free one); it listens once it has its first routing table.

    Raises:
        ServiceError: If the port is in use, naming by whom where that is known, or the proxy does
            not start; nothing is left running.
    """
    log = folder.log(_LOG)
    with contextlib.ExitStack() as stack:
        public = stack.enter_context(contextlib.closing(_public_socket(folder, port)))
        admin = stack.enter_context(contextlib.closing(hold_port(0)))
        options = {
            "--listen-fd": str(public.fileno()),
            "--token-file": str(folder.token),
            "--admin-fd": str(admin.fileno()),
            "--log": str(log),
        }
        ref = process.start(
            "penstock.rollout.proxy",
            [word for pair in options.items() for word in pair],
            log=log,
            sockets=[public, admin],
        )
        proxy = ProxyProcess(
            port=public.getsockname()[1], admin_port=admin.getsockname()[1], process=ref
        )
    try:
        process.wait_until_ready(
            proxy.admin_port,
            _TABLE,
            ref,
            timeout=_READY_TIMEOUT,
            log=log,
            what="the proxy",
            headers=folder.headers(),
        )
    except BaseException:
        process.stop(ref, grace=5)
        raise
    return proxy


def apply(folder: ServiceFolder, proxy: ProxyProcess, state: LocalState, *, term: int) -> None:
    """Send the proxy the routing table of a state; returns when it is in effect.

    Args:
        folder: The service's folder.
        proxy: Its proxy.
        state: Arms, weight and assignment.
        term: The lease's: the proxy rejects one that is lower than it has seen.

    Raises:
        LeaseLostError: If a later controller has updated it.
        ServiceError: If it does not answer.
    """
    assignment, users = state.assignment, state.assignment.experiment
    arms = [
        {"role": role, "version": arm.version, "identity": arm.identity, "port": arm.port}
        for role, arm in state.roles().items()
    ]
    table = {
        "term": term,
        "arms": arms,
        "weight": state.weight,
        "routing": {
            "mirror": assignment.mirror,
            "sticky_header": assignment.sticky_header,
            "choice_header": assignment.choice_header,
            "grids": (assignment.grids or HistogramBuckets()).model_dump(),
            "experiment": users
            and {
                "salt": users.salt,
                "header": users.header,
                "path": str(folder.events(users.identity)),
                "labels": users.labels,
            },
        },
    }
    _call(folder, proxy, "PUT", table)


def read(folder: ServiceFolder, proxy: ProxyProcess) -> dict[str, Any]:
    """Return the proxy's routing table and stats.

    Raises:
        ServiceError: If it does not answer.
    """
    return _call(folder, proxy, "GET")


def observe(folder: ServiceFolder, proxy: ProxyProcess) -> Observation:
    """Return the proxy's stats.

    Raises:
        ServiceError: If it does not answer.
    """
    found = read(folder, proxy)
    return Observation(
        epoch=found["epoch"],
        arms={arm["version"]: ArmSummary.model_validate(arm["counts"]) for arm in found["arms"]},
        pairs=Pairs.model_validate(found["pairs"]),
    )


def _call(
    folder: ServiceFolder, proxy: ProxyProcess, method: str, table: dict[str, Any] | None = None
) -> dict[str, Any]:
    body = json.dumps(table).encode() if table else None
    try:
        status, text = ask(proxy.admin_port, method, _TABLE, body=body, headers=folder.headers())
    except TimeoutError as error:
        raise _failed(folder, "does not answer in time") from error
    except OSError as error:
        raise _failed(folder, f"does not answer: {error}") from error
    if status == 409:
        raise LeaseLostError(
            "another controller has updated it since",
            where=f"service {folder.service}",
            remedy="Look at what it does now with: penstock status.",
        )
    if status != 200:
        refused = f"refuses the {'update' if table else 'look'} ({status})"
        raise _failed(folder, f"{refused}: {text.decode(errors='replace')}")
    answer: dict[str, Any] = json.loads(text)
    return answer


def _failed(folder: ServiceFolder, how: str) -> ServiceError:
    return ServiceError(
        f"the proxy {how}",
        where=f"service {folder.service}",
        remedy=f"Read {folder.log(_LOG)}.",
    )


def _public_socket(folder: ServiceFolder, port: int) -> socket.socket:
    try:
        bound = hold_port(port)
    except OSError as error:
        raise _port_error(folder, port, str(error.strerror)) from error
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1)
        # Some systems let two programs bind one port if only one of them names the address.
        if probe.connect_ex((LOOPBACK, bound.getsockname()[1])) == 0:
            bound.close()
            raise _port_error(folder, port, "it accepts connections")
    return bound


def _port_error(folder: ServiceFolder, port: int, reason: str) -> ServiceError:
    owner = f"another program ({reason})"
    for other in ServiceFolder.all_below(folder.path.parent.parent):
        state = other.read()
        if state and state.proxy and state.port == port and process.is_alive(state.proxy.process):
            owner = f"the service {state.service!r}"
    return ServiceError(
        f"port {port} on {LOOPBACK} is in use by {owner}",
        where="deployment.port",
        remedy="Stop it, choose another port, or set 0 to use a free one.",
    )
