"""Asking a process of this machine: plain HTTP on loopback, no proxies, no TLS."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

LOOPBACK = "127.0.0.1"


def ask(
    port: int,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> tuple[int, bytes]:
    """Send one request to a port of this machine; return the status and the body.

    Raises:
        OSError: If nobody answers within `timeout` seconds, or not by HTTP.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"no answer by HTTP: {error!r}") from error
    finally:
        connection.close()
