"""What goes wrong between us and Kubeflow: said in words, and survived where time mends it."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import signal
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kfp_argo import Scenario
from kfp_server import Fault, KfpServer
from running_process import until

RUNS = "/apis/v2beta1/runs"


def wait(penstock, server, project, *options: object):
    return penstock(
        "submit", project, "--host", server.host, "--wait", "--interval", "0.02",
        "--patience", "3", *options,
    )  # fmt: skip


def test_a_short_outage_is_survived_and_said_once(kfp_server, project_file, penstock) -> None:
    kfp_server.faults = [
        Fault(1, status=503, method="GET", path=RUNS),
        Fault(1, cut=True, method="GET", path=RUNS),
        Fault(1, status=429, method="GET", path=RUNS, headers={"Retry-After": "0"}),
    ]
    done = wait(penstock, kfp_server, project_file(), "--patience", "30")
    assert done.code == 0, done.out + done.err
    assert "RELEASED" in done.out
    assert done.err.count("Trying again for 30 s") == 1
    assert "answers 503" in done.err


def test_a_long_outage_ends_the_wait_and_not_the_run(kfp_server, project_file, penstock) -> None:
    kfp_server.faults = [Fault(10**6, status=502, method="GET", path=RUNS, text="<html>bad</html>")]
    done = wait(penstock, kfp_server, project_file(), "--patience", "1")
    assert done.code == 1
    assert "answers 502" in done.err
    run_id = next(iter(kfp_server.runs))
    assert f"the run continues. End it with: penstock terminate {run_id}" in done.err
    assert kfp_server.workflows[run_id].canceled is False


def test_what_time_does_not_mend_is_not_asked_again(kfp_server, project_file, penstock) -> None:
    kfp_server.faults = [Fault(1, status=403, method="GET", path=RUNS, text='{"message": "no"}')]
    done = wait(penstock, kfp_server, project_file())
    assert done.code == 1
    assert "denies access (403). no" in done.err
    assert "Trying again" not in done.err


def test_a_run_that_vanishes_is_told(kfp_server, project_file, penstock) -> None:
    kfp_server.scenario = Scenario(hangs_at="ingest")

    def vanish() -> None:
        until(lambda: len(kfp_server.asked("GET", f"{RUNS}/")) > 1)
        kfp_server.runs.clear()

    vanishing = threading.Thread(target=vanish)
    vanishing.start()
    done = wait(penstock, kfp_server, project_file())
    vanishing.join()
    assert done.code == 1
    assert "the run does not exist any more" in done.err


def test_a_creation_is_never_sent_twice(kfp_server, project_file, penstock) -> None:
    kfp_server.faults = [Fault(1, method="POST", path=RUNS, cut=True)]
    done = wait(penstock, kfp_server, project_file())
    assert done.code == 1
    assert "did not answer" in done.err
    assert len(kfp_server.asked("POST", RUNS)) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(Fault(1, late=1.5, cut=True), "did not answer: Read timed out", id="slow"),
        pytest.param(Fault(1, late=0.01, cut=True), "did not answer", id="cut"),
        pytest.param(Fault(1, late=0.01, status=504), "answers 504", id="gateway"),
    ],
)
def test_a_run_that_began_unanswered_is_not_denied(
    kfp_server, project_file, penstock, monkeypatch, fault, words
) -> None:
    monkeypatch.setattr("penstock.pipelines.kubeflow_client._SECONDS", (1, 0.5))
    kfp_server.faults = [replace(fault, method="POST", path=RUNS)]
    project = project_file()
    done = penstock("submit", project, "--host", kfp_server.host, "--run-name", "wine 7")
    assert done.code == 1
    assert words in done.err
    assert "cannot be reached" not in done.err
    assert "the run 'wine 7' may have begun all the same" in done.err
    (experiment,) = kfp_server.experiments
    assert f"{kfp_server.host}/#/experiments/details/{experiment}" in done.err
    remedy = re.search(r"--once --run-name '[^']+'", done.err)[0]
    again = penstock("submit", project, "--host", kfp_server.host, *shlex.split(remedy))
    assert again.code == 0, again.err
    assert len(kfp_server.runs) == 1


def test_what_was_not_begun_is_not_said_to_be(kfp_server, project_file, penstock) -> None:
    kfp_server.faults = [Fault(1, status=503, path="/apis/v2beta1/experiments")]
    done = penstock("submit", project_file(), "--host", kfp_server.host)
    assert "answers 503" in done.err
    assert "may have begun" not in done.err
    kfp_server.faults = [Fault(1, status=400, path=RUNS, text='{"message": "no"}')]
    done = penstock("submit", project_file(), "--host", kfp_server.host)
    assert "answers 400. no" in done.err
    assert "may have begun" not in done.err


def test_the_time_to_wait_may_be_limited(kfp_server, project_file, penstock) -> None:
    kfp_server.scenario = Scenario(hangs_at="train")
    done = wait(penstock, kfp_server, project_file(), "--timeout", "1s")
    assert done.code == 1
    assert "has not ended after 1 s" in done.err
    assert "the run continues" in done.err


def test_a_time_to_wait_without_waiting_is_wrong_usage(kfp_server, project_file, penstock) -> None:
    done = penstock("submit", project_file(), "--host", kfp_server.host, "--timeout", "1s")
    assert done.code == 2
    assert "--timeout goes with --wait" in done.err
    assert kfp_server.requests == []


def test_ctrl_c_leaves_the_run_going(kfp_server, project_file, start_penstock) -> None:
    kfp_server.scenario = Scenario(hangs_at="train")
    process = start_penstock(
        "submit", project_file(), "--host", kfp_server.host, "--wait", "--interval", "0.1"
    )
    lines = [process.stdout.readline() for _ in range(3)]  # it is waiting: two steps are over
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    run_id, workflow = next(iter(kfp_server.workflows.items()))
    assert run_id in lines[0]
    assert f"penstock terminate {run_id} --host {kfp_server.host}" in err
    assert "Traceback" not in err
    assert workflow.canceled is False


def test_nobody_at_the_address(project_file, penstock) -> None:
    done = penstock("submit", project_file(), "--host", "http://127.0.0.1:9")
    assert done.code == 1
    assert "http://127.0.0.1:9: cannot be reached" in done.err
    assert "port-forward" in done.err


def test_no_address_is_wrong_usage(project_file, penstock) -> None:
    done = penstock("submit", project_file())
    assert done.code == 2
    assert "KF_PIPELINES_ENDPOINT" in done.err


def test_the_address_may_come_from_kfps_own_variable(
    kfp_server, project_file, penstock, monkeypatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp_server.host + "/")
    monkeypatch.setenv("KF_PIPELINES_UI_ENDPOINT", "https://kubeflow.example/pipeline")
    done = penstock("submit", project_file())
    assert done.code == 0, done.err
    assert "https://kubeflow.example/pipeline/#/runs/details/" in done.out
    assert len(kfp_server.runs) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(99, status=200, text="<html>Sign in</html>", headers={"Content-Type": "text/html"}),
        Fault(99, status=404, text="404 page not found"),
        Fault(99, status=200, text='{"ok": true}', headers={"Content-Type": "application/json"}),
    ],
    ids=("page", "404", "other-json"),
)
def test_another_server_is_not_taken_for_kfp(kfp_server, project_file, penstock, fault) -> None:
    kfp_server.faults = [fault]
    done = penstock("submit", project_file(), "--host", kfp_server.host)
    assert done.code == 1
    assert "not as the API of Kubeflow Pipelines" in done.err


def test_a_page_to_sign_in_is_named(kfp_server, project_file, penstock) -> None:
    to = {"Location": "https://dex.example/auth"}
    kfp_server.faults = [Fault(99, status=302, headers=to)]
    done = penstock("submit", project_file(), "--host", kfp_server.host)
    assert done.code == 1
    assert "redirects to https://dex.example/auth" in done.err


def test_a_token_is_needed_and_read_from_a_file(
    kfp_server, project_file, penstock, tmp_path: Path
) -> None:
    kfp_server.tokens = {"right"}
    token = tmp_path / "token"
    without = penstock("submit", project_file(), "--host", kfp_server.host)
    assert without.code == 1
    assert "refuses the credentials (401)" in without.err
    assert "--token-file" in without.err
    token.write_text("wrong\n")
    wrong = penstock("submit", project_file(), "--host", kfp_server.host, "--token-file", token)
    assert wrong.code == 1
    token.write_text("right\n")
    right = penstock("submit", project_file(), "--host", kfp_server.host, "--token-file", token)
    assert right.code == 0, right.err
    missing = penstock("submit", project_file(), "--host", kfp_server.host, "--token-file", "nope")
    assert missing.code == 1
    assert "nope: cannot be read" in missing.err


def test_a_projected_token_is_found_by_kfps_variable(
    kfp_server, project_file, penstock, tmp_path: Path, monkeypatch
) -> None:
    kfp_server.tokens = {"projected"}
    (tmp_path / "projected").write_text("projected")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "projected"))
    assert penstock("submit", project_file(), "--host", kfp_server.host).code == 0


def test_a_long_wait_outlives_its_token(kfp_server, project_file, penstock, tmp_path: Path) -> None:
    kfp_server.tokens = {"first"}
    token = tmp_path / "token"
    token.write_text("first")

    def renew() -> None:
        while not kfp_server.runs:
            time.sleep(0.02)
        kfp_server.tokens = {"second"}
        time.sleep(0.5)  # refused meanwhile
        token.write_text("second")

    renewing = threading.Thread(target=renew)
    renewing.start()
    kfp_server.pace = 2
    done = wait(
        penstock, kfp_server, project_file(), "--token-file", token, "--interval", "0.05",
        "--patience", "30",
    )  # fmt: skip
    renewing.join()
    assert done.code == 0, done.out + done.err
    assert "401" in done.err


def test_a_session_cookie_signs_in(kfp_server, project_file, penstock, tmp_path: Path) -> None:
    kfp_server.cookies = {"authservice_session=abc"}
    cookie = tmp_path / "cookie"
    cookie.write_text("authservice_session=abc\n")
    done = penstock("submit", project_file(), "--host", kfp_server.host, "--cookie-file", cookie)
    assert done.code == 0, done.err


def test_a_namespace_that_is_not_ours_is_refused_with_the_servers_words(
    kfp_server, project_file, penstock
) -> None:
    kfp_server.multi_user = True
    kfp_server.forbidden = {"theirs"}
    done = penstock("submit", project_file(), "--host", kfp_server.host, "--namespace", "theirs")
    assert done.code == 1
    assert "User 'jo' is not authorized in namespace theirs" in done.err
    ours = project_file(cluster={"namespace": "ours"})
    assert penstock("submit", ours, "--host", kfp_server.host).code == 0
    assert [e["namespace"] for e in kfp_server.experiments.values()] == ["ours"]


class TestTls:
    """A server with a certificate that nobody knows."""

    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        path = tmp_path / "server.pem"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (tmp_path / "server.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    @pytest.fixture
    def secure(self, certificate: Path):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        server = KfpServer().start(tls=context)
        yield server
        server.stop()

    def test_an_unknown_certificate_is_refused(self, secure, project_file, penstock) -> None:
        done = penstock("submit", project_file(), "--host", secure.host)
        assert done.code == 1
        assert "its certificate is not trusted" in done.err
        assert "--ca-cert" in done.err
        assert secure.runs == {}

    def test_it_can_be_trusted(self, secure, project_file, penstock, certificate) -> None:
        done = penstock("submit", project_file(), "--host", secure.host, "--ca-cert", certificate)
        assert done.code == 0, done.err
        assert done.err == ""

    def test_or_not_looked_at_with_a_word_of_warning(self, secure, project_file, penstock) -> None:
        done = penstock("submit", project_file(), "--host", secure.host, "--insecure")
        assert done.code == 0, done.err
        assert done.err == "The server's certificate is not checked (--insecure).\n"


def test_help_does_not_import_kfp(start_penstock, penstock) -> None:
    process = start_penstock("--help")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "usage" in out
    for command in (("submit",), ("schedule", "create")):
        done = penstock(*command, "--help")
        assert done.code == 0
        assert "usage" in done.out
    import subprocess
    import sys

    code = "import sys, penstock.pipelines.cli; print('kfp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout == "False\n"
