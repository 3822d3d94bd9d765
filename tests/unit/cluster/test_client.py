"""What is not a Kubernetes API server, or has not what it is asked to write into, is named."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from running_process import served

from penstock.cluster.client import CONFIG_MAPS, Kube, RefusedError
from penstock.errors import ServiceError


class Proxy(HTTPServer):
    status = 200
    said = b""


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.said)))
        self.end_headers()
        self.wfile.write(self.server.said)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with served(Proxy(("127.0.0.1", 0), Handler)) as server:
        yield server


@pytest.mark.parametrize("said", [b"<html>Log in</html>", b"[]", b"", b"\xff"])
def test_a_page_is_no_answer(proxy: Proxy, said: bytes) -> None:
    proxy.said = said
    kube = Kube(f"http://127.0.0.1:{proxy.server_port}", verify=False, patience=5)
    path = CONFIG_MAPS.path("penstock")
    for ask in (
        lambda: kube.get(f"{path}/x"),
        lambda: kube.items(path),
        lambda: kube.create(path, {}),
        lambda: kube.replace(f"{path}/x", {}),
    ):
        with pytest.raises(ServiceError, match="something else than a Kubernetes API server"):
            ask()


def test_null_is_no_object(proxy: Proxy) -> None:
    """So Kubernetes 1.34 answers for metadata alone; for whole objects it writes `[]`."""
    proxy.said = b'{"kind": "PartialObjectMetadataList", "items": null}'
    kube = Kube(f"http://127.0.0.1:{proxy.server_port}", verify=False, patience=5)
    assert kube.items(CONFIG_MAPS.path("penstock"), metadata=True) == []


@pytest.mark.parametrize("said", [b'{"kind": "PodList"}', b'{"kind": "PodList", "items": null}'])
def test_a_list_without_items_is_empty(proxy: Proxy, said: bytes) -> None:
    proxy.said = said
    kube = Kube(f"http://127.0.0.1:{proxy.server_port}", verify=False, patience=5)
    assert kube.items(CONFIG_MAPS.path("penstock")) == []


def test_a_field_that_is_null_is_not_there(proxy: Proxy) -> None:
    """So no reader of an object asks for both: `status.conditions` may be null in a real one."""
    proxy.said = b"""{"kind": "PodList", "items": [
        {"metadata": {"labels": null, "name": "x"}, "status": {"conditions": null}, "spec": null}
    ]}"""
    kube = Kube(f"http://127.0.0.1:{proxy.server_port}", verify=False, patience=5)
    path = CONFIG_MAPS.path("penstock")
    assert kube.items(path) == [{"metadata": {"name": "x"}, "status": {}}]
    assert kube.get(f"{path}/x") == {"kind": "PodList", "items": kube.items(path)}


def test_a_namespace_that_is_not_there_takes_nothing(proxy: Proxy) -> None:
    proxy.status, proxy.said = 404, b'{"kind": "Status", "message": "namespaces \\"x\\" not found"}'
    kube = Kube(f"http://127.0.0.1:{proxy.server_port}", verify=False, patience=5)
    with pytest.raises(RefusedError, match='namespaces "x" not found'):
        kube.create(CONFIG_MAPS.path("x"), {})
