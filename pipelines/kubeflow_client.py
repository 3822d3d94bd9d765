"""A client of Kubeflow Pipelines with helpful errors and time limits.

It is kfp's own client, so all its ways of signing in work here too: the variables KF_PIPELINES_*,
~/.config/kfp/context.json, Google's proxies. Changed are requests without a time limit, a token
that is read only once, and tracebacks while it connects.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from penstock.errors import InputError, PenstockError, ServiceError, UsageError
from penstock.redaction import keep

T = TypeVar("T")

HOST = "KF_PIPELINES_ENDPOINT"
"""The environment variable with the address of the API, as kfp's client has it."""

_UI = "KF_PIPELINES_UI_ENDPOINT"
_TOKEN_PATH = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105
_SECONDS = (10, 60)  # to connect, to answer
_PASSING = (408, 429, 500, 502, 503, 504)
_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0
_LONGEST_MESSAGE = 600


@dataclass(frozen=True)
class Endpoint:
    """Where Kubeflow Pipelines is, and how to sign in.

    `token_file` holds a bearer token and `cookie_file` the value of a Cookie header; both are read
    again for every request, so whatever renews them keeps a long wait alive. Without a token file
    KF_PIPELINES_SA_TOKEN_PATH is one. An empty `host` takes KF_PIPELINES_ENDPOINT.
    """

    host: str = ""
    namespace: str = ""
    token_file: Path | None = None
    cookie_file: Path | None = None
    ca_cert: Path | None = None
    insecure: bool = False

    def address(self) -> str:
        """Return the API's address without a slash at its end.

        Raises:
            UsageError: If there is none, or it is not an http or https address.
        """
        host = (self.host or os.environ.get(HOST, "")).rstrip("/")
        if not host:
            raise UsageError(
                "no address of Kubeflow Pipelines was given",
                where="--host",
                remedy=f"Give --host URL or set {HOST}. For a cluster without an ingress: "
                "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80, and "
                "--host http://localhost:8080.",
            )
        if not host.startswith(("http://", "https://")):
            raise UsageError(
                f"{host!r} is not an address", where="--host", remedy="Begin it with https://."
            )
        return host

    def link(self, path: str) -> str:
        """Return the address of a page of Kubeflow's UI, for example `runs/details/<id>`."""
        return f"{(os.environ.get(_UI) or self.address()).rstrip('/')}/#/{path}"

    def renews(self) -> bool:
        """Return whether a refused credential may be replaced by a newer one."""
        return bool(self.token_file or self.cookie_file or os.environ.get(_TOKEN_PATH))


def connect(endpoint: Endpoint) -> Any:
    """Return a `kfp.Client` that has seen the server answer.

    Raises:
        UsageError: If there is no usable address.
        InputError: If a token, cookie or certificate file cannot be read.
        ServiceError: If the server cannot be reached, does not let us in, or is not KFP's API.
    """
    host = endpoint.address()
    for file in (endpoint.token_file, endpoint.cookie_file, endpoint.ca_cert):
        secret = "" if file is None else _read(file)
        if secret and file != endpoint.ca_cert:
            keep(secret)
    with readable_errors(endpoint):
        client = _client(endpoint, host)
        health = client.get_kfp_healthz()
    if health.multi_user is None:
        raise _not_kfp(host)
    return client


def _client(endpoint: Endpoint, host: str) -> Any:
    import kfp
    from kfp.client import ServiceAccountTokenVolumeCredentials
    from kfp_server_api.rest import RESTClientObject
    from urllib3 import Retry
    from urllib3.exceptions import InsecureRequestWarning

    class Rest(RESTClientObject):  # type: ignore[misc]
        def request(self, method: str, url: str, **options: Any) -> Any:
            options["_request_timeout"] = options.get("_request_timeout") or _SECONDS
            if endpoint.cookie_file is not None:
                headers = {**(options.get("headers") or {}), "Cookie": _read(endpoint.cookie_file)}
                options["headers"] = headers
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InsecureRequestWarning)  # --insecure warned once
                return super().request(method, url, **options)

    class Client(kfp.Client):  # type: ignore[misc]
        # kfp's own tries five times with a traceback each; this one is also the first request.
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:  # noqa: ARG002
            api = self._healthz_api.api_client
            if not isinstance(api.rest_client, Rest):
                # We repeat what is safe to repeat; a redirect is a login page, never the API.
                api.configuration.retries = Retry(0, redirect=False)
                api.rest_client = Rest(api.configuration)
            return self._healthz_api.healthz_service_get_healthz()

    credentials = None
    if endpoint.token_file is not None or os.environ.get(_TOKEN_PATH):
        path = None if endpoint.token_file is None else str(endpoint.token_file)
        credentials = ServiceAccountTokenVolumeCredentials(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Client(
            host=host,
            credentials=credentials,
            ssl_ca_cert=None if endpoint.ca_cert is None else str(endpoint.ca_cert),
            verify_ssl=False if endpoint.insecure else None,
            **({"namespace": endpoint.namespace} if endpoint.namespace else {}),
        )


@contextlib.contextmanager
def readable_errors(endpoint: Endpoint) -> Iterator[None]:
    """Turn what fails inside into an error for people; suppress kfp's own prints."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except PenstockError:
        raise
    except Exception as error:
        explained = _explained(error, endpoint)
        if explained is None:
            raise
        raise explained from error


class Patience:
    """Repeats a request through outages, with growing pauses, until a deadline.

    Args:
        endpoint: Where the request goes.
        seconds: How long an outage may last; each response restarts the count.
        notice: Called once for each outage, with its reason in words.
    """

    def __init__(
        self, endpoint: Endpoint, *, seconds: float, notice: Callable[[str], None]
    ) -> None:
        self._endpoint = endpoint
        self._seconds = seconds
        self._notice = notice

    def request(self, send: Callable[[], T]) -> T:
        """Return the response.

        Raises:
            ServiceError: If the error is not a passing one, or the outage lasts too long.
        """
        began: float | None = None
        pause = _SHORTEST_PAUSE
        while True:
            try:
                with readable_errors(self._endpoint):
                    return send()
            except PenstockError as error:
                now = time.monotonic()
                if not self._passes(error.__cause__):
                    raise
                if began is None:
                    began = now
                    self._notice(str(error))
                if now - began >= self._seconds:
                    raise
                left = began + self._seconds - now
                time.sleep(max(0.05, min(max(pause, _retry_after(error.__cause__)), left)))
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _passes(self, error: BaseException | None) -> bool:
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        if isinstance(error, ApiException):
            return error.status in _PASSING or (error.status == 401 and self._endpoint.renews())
        if isinstance(error, OSError):
            return True  # a token file that is just being replaced
        return isinstance(error, HTTPError) and not _certificate(error)


def _retry_after(error: BaseException | None) -> float:
    """Return the seconds of the server's Retry-After, at most the longest pause."""
    headers = getattr(error, "headers", None) or {}
    value = str(headers.get("Retry-After", ""))
    return min(float(value), _LONGEST_PAUSE) if value.isdigit() else 0.0


def _explained(error: Exception, endpoint: Endpoint) -> PenstockError | None:
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError, ReadTimeoutError

    host = endpoint.address()
    if isinstance(error, ApiException):
        return _refused(error, host)
    if isinstance(error, OSError) and error.filename:
        return InputError(f"cannot be read: {error.strerror}", where=str(error.filename))
    if isinstance(error, HTTPError):
        if reason := _certificate(error):
            return ServiceError(
                f"its certificate is not trusted: {reason}",
                where=host,
                remedy="Give the authority that signed it with --ca-cert FILE.",
            )
        late = isinstance(getattr(error, "reason", error), ReadTimeoutError)
        return ServiceError(
            f"{'does not answer in time' if late else 'cannot be reached'}: {_why(error)}",
            where=host,
            remedy="Check the address and that the port-forward or ingress is up.",
        )
    return None


def _refused(error: Any, host: str) -> PenstockError:
    message = message_of(error)
    if error.status == 401:
        return ServiceError(
            f"refuses the credentials (401). {message}".rstrip(),
            where=host,
            remedy="Give a current token with --token-file, or a session with --cookie-file.",
        )
    if error.status == 403:
        return ServiceError(
            f"denies access (403). {message}".rstrip(),
            where=host,
            remedy="Ask for a role in that namespace, or name another with --namespace.",
        )
    if error.status in (301, 302, 303, 307, 308):
        to = (error.headers or {}).get("Location", "somewhere else")
        return ServiceError(
            f"redirects to {to}: another address, or a sign-in page",
            where=host,
            remedy="Use that address as --host, or sign in with --token-file or --cookie-file.",
        )
    if error.status == 404 and not _from_kfp(error):
        return _not_kfp(host)
    return ServiceError(
        f"answers {error.status}. {message or error.reason or ''}".rstrip(), where=host
    )


def message_of(error: Any) -> str:
    """Return the server's message in an `ApiException`, shortened; empty if there is none."""
    body = _json(error)
    text = body.get("message") or body.get("error") or body.get("error_message") or ""
    return " ".join(str(text).split())[:_LONGEST_MESSAGE]


def _from_kfp(error: Any) -> bool:
    return bool(_json(error).keys() & {"code", "error", "error_message"})


def _json(error: Any) -> dict[str, Any]:
    try:
        body = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _not_kfp(host: str) -> ServiceError:
    return ServiceError(
        "responds, but not as the API of Kubeflow Pipelines",
        where=host,
        remedy="Give the address under which /apis/v2beta1/healthz answers JSON; a web page there "
        "may mean that you are not signed in.",
    )


def _certificate(error: BaseException) -> str:
    """Return what is wrong with a certificate, or nothing if the error is another."""
    from urllib3.exceptions import SSLError

    reason = getattr(error, "reason", error)
    return _why(reason) if isinstance(reason, SSLError) else ""


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, BaseException) else error)
    # urllib3 puts the object before the words.
    return (
        text.rpartition("object at 0x")[2].partition(": ")[2] or text.rpartition("): ")[2] or text
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputError("is not text", where=str(path)) from error
