"""What is said of a proxy that does not take what it is told."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest
from running_process import LOOPBACK, silent_port

from penstock.errors import ServiceError
from penstock.processes import identity
from penstock.processes.loopback import ask
from penstock.rollout.backends.local.state import ProxyProcess, ServiceFolder
from penstock.rollout.proxy import control


def test_a_proxy_that_is_slow_has_refused_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ask", partial(ask, timeout=0.2))
    folder = ServiceFolder(tmp_path, "adult")
    folder.make()

    def said(port: int) -> str:
        proxy = ProxyProcess(port=1, admin_port=port, process=identity.this())
        with pytest.raises(ServiceError) as caught:
            control.read(folder, proxy)
        return str(caught.value)

    with socket.create_server((LOOPBACK, 0)) as slow:
        assert "the proxy does not answer in time" in said(slow.getsockname()[1])
    with silent_port() as port:
        assert "the proxy does not answer: [Errno 111] Connection refused" in said(port)
