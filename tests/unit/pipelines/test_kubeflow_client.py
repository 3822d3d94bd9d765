"""What is said of a server of Kubeflow Pipelines that does not answer."""

from __future__ import annotations

import socket

import pytest
import urllib3
from running_process import LOOPBACK, silent_port

from penstock.errors import ServiceError
from penstock.pipelines.kubeflow_client import Endpoint, readable_errors


def _asked(port: int) -> str:
    host = f"http://{LOOPBACK}:{port}"
    with pytest.raises(ServiceError) as caught, readable_errors(Endpoint(host=host)):
        urllib3.PoolManager().request("GET", host, timeout=0.2, retries=0)
    return str(caught.value)


def test_a_server_that_is_slow_is_not_said_to_be_unreachable() -> None:
    with socket.create_server((LOOPBACK, 0)) as slow:
        assert "did not answer: Read timed out" in _asked(slow.getsockname()[1])
    with silent_port() as port:
        assert "cannot be reached: " in _asked(port)
