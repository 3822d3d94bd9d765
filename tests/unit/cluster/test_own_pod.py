"""A pod asks the API server by what Kubernetes mounts into it, without Kubernetes' client."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from running_process import LOOPBACK, served

from penstock.cluster import own_pod
from penstock.errors import ServiceError


class Handler(BaseHTTPRequestHandler):
    asked: list[tuple[str, str]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["authorization"]))
        said = json.dumps({"metadata": {"name": "step-1", "uid": "u"}}).encode()
        self.send_response(200 if self.path.endswith("/pods/step-1") else 404)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


def certificate(folder: Path) -> None:
    """Write key.pem and ca.crt of an authority that is the server itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    certificate(tmp_path)
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("kubeflow")
    server = HTTPServer((LOOPBACK, 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr(own_pod, "ACCOUNT", tmp_path)
    for name in ("KUBECONFIG", "KFP_NAMESPACE", "NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", LOOPBACK)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    monkeypatch.setenv("KFP_POD_NAME", "step-1")
    with served(server):
        yield tmp_path


def test_it_reads_its_own_pod_with_the_token_of_now(account: Path) -> None:
    assert own_pod.in_a_pod()
    kube = own_pod.api_server()
    assert own_pod.own_pod(kube)["metadata"]["uid"] == "u"
    (account / "token").write_text("second")
    own_pod.own_pod(kube)
    path = "/api/v1/namespaces/kubeflow/pods/step-1"
    assert Handler.asked[-2:] == [(path, "Bearer first"), (path, "Bearer second")]


def test_a_pod_that_is_not_known_or_has_no_token_is_a_sentence(
    account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = own_pod.api_server()
    monkeypatch.setenv("KFP_POD_NAME", "step-2")
    with pytest.raises(ServiceError, match="not known to the API server as 'step-2'"):
        own_pod.own_pod(kube)
    (account / "token").unlink()
    with pytest.raises(ServiceError, match="this pod's account has no token"):
        own_pod.api_server()
