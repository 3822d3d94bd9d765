"""A client of a Kubernetes API server: requests and responses in plain dicts.

Only how to reach it (kubeconfig, a pod's service account, tokens that expire) is left to the
official client: its typed objects refuse fields that they do not know, and each release of it
knows others.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from penstock.cluster import kubeconfig as _kubeconfig
from penstock.errors import ServiceError

Manifest = dict[str, Any]

_PATIENCE = 30.0
_TIMEOUT = 20.0
_RETRIED = frozenset({429, 500, 502, 503, 504})
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_JSON = "application/json"
_METADATA = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class ConflictError(ServiceError):
    """The object is not what the writer took it for: it was changed, or is there already."""


class ForbiddenError(ServiceError):
    """The account may not do it."""


class RefusedError(ServiceError):
    """The API server, or a webhook of it, does not take the object."""


class UnansweredError(ServiceError):
    """The API server does not respond, or not as one does; the request may have been done."""


@dataclass(frozen=True)
class Resource:
    """A kind of object.

    Attributes:
        api: Group and version, or `v1` for the core.
        plural: Its name in addresses.
    """

    api: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        """Return the address of one object, or of all in a namespace."""
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        return f"{root}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


CONFIG_MAPS = Resource("v1", "configmaps")
PODS = Resource("v1", "pods")
SERVICES = Resource("v1", "services")
LEASES = Resource("coordination.k8s.io/v1", "leases")
INFERENCE_SERVICES = Resource("serving.kserve.io/v1beta1", "inferenceservices")
SERVING_RUNTIMES = Resource("serving.kserve.io/v1alpha1", "servingruntimes")
HTTP_ROUTES = Resource("gateway.networking.k8s.io/v1", "httproutes")
GATEWAYS = Resource("gateway.networking.k8s.io/v1", "gateways")
DEPLOYMENTS = Resource("apps/v1", "deployments")
KNATIVE_SERVICES = Resource("serving.knative.dev/v1", "services")


class Kube:
    """One API server.

    What fails for a moment (no connection, 429, 5xx) is tried again for `patience` seconds, so a
    write may have been done although its answer got lost: writers compare what they find.

    Args:
        server: Its URL.
        token: Returns the bearer token to send now; None where a certificate identifies the client.
        verify: What its certificate is checked against.
        patience: Seconds to go on trying.
    """

    def __init__(
        self,
        server: str,
        *,
        token: Callable[[], str | None] = lambda: None,
        verify: ssl.SSLContext | bool = True,
        patience: float = _PATIENCE,
    ) -> None:
        self._token = token
        self._patience = patience
        self._http = httpx.Client(
            base_url=server, verify=verify, timeout=min(_TIMEOUT, patience), trust_env=False
        )

    def hasty(self, patience: float) -> Kube:
        """Return the same client with that timeout in seconds, over the same connections."""
        found = copy.copy(self)
        found._patience = min(patience, self._patience)
        return found

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self._http.base_url)

    def get(self, path: str, **parameters: str) -> Manifest | None:
        """Return what is at `path`, or None if nothing is.

        Raises:
            UnansweredError: If the API server does not answer, or not in time.
            ForbiddenError: If this account may not read it.
        """
        response = self._ask("GET", path, parameters=parameters)
        return None if response.status_code == 404 else _json(response)

    def items(self, path: str, *, metadata: bool = False, **parameters: str) -> list[Manifest]:
        """Return the objects of a collection; none where the kind itself is not known.

        Args:
            path: Of the collection.
            metadata: Return names, labels and annotations alone, not what the objects hold.
            **parameters: For example `labelSelector`.
        """
        response = self._ask(
            "GET", path, parameters=parameters, accept=_METADATA if metadata else _JSON
        )
        if response.status_code == 404:
            return []
        found = _json(response)
        # An empty one is null where only metadata is asked for, which is as if it were not there.
        items = found.get("items", [] if str(found.get("kind", "")).endswith("List") else None)
        if not isinstance(items, list):
            raise _not_kubernetes(response, path)
        return items

    def text(self, path: str, **parameters: str) -> str:
        """Return a log; empty if there is none (yet)."""
        response = self._ask("GET", path, parameters=parameters, refusable=True)
        return response.text if response.status_code == 200 else ""

    def create(self, path: str, manifest: Manifest) -> Manifest:
        """Create an object in a collection, and return it as it was taken.

        Raises:
            ConflictError: If it is there already.
            RefusedError: If it is refused, with the message of the API server or its webhook.
        """
        response = self._ask("POST", path, body=manifest)
        if response.status_code == 404:
            # The namespace, or the kind.
            raise RefusedError(f"the cluster refused it: {_message(response)}", where=path)
        return _json(response)

    def replace(self, path: str, manifest: Manifest) -> Manifest:
        """Write an object over the one of the same `metadata.resourceVersion`, and return it.

        Raises:
            ConflictError: If it was changed since it was read, or is not there any more.
            RefusedError: If it is not taken.
        """
        response = self._ask("PUT", path, body=manifest)
        if response.status_code == 404:
            raise ConflictError("it was deleted meanwhile", where=path)
        return _json(response)

    def delete(self, path: str, *, like: Manifest | None = None, changed: bool = True) -> None:
        """Delete an object, with what it owns; one that is not there is none to delete.

        Args:
            path: The object.
            like: The object as it was found: one that was made anew under its name is kept.
            changed: Delete it even where it has changed since.

        Raises:
            ConflictError: If it is not the one that was found.
        """
        body: Manifest = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if like:
            names = ("uid",) if changed else ("uid", "resourceVersion")
            body["preconditions"] = {name: like["metadata"][name] for name in names}
        self._ask("DELETE", path, body=body)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | None = None,
        parameters: Mapping[str, str] = {},
        refusable: bool = False,
        accept: str = _JSON,
    ) -> httpx.Response:
        """Return the answer: a success, 404, or anything below 500 where it is `refusable`."""
        deadline = time.monotonic() + self._patience
        pause = 0.25
        while True:
            wait, message = pause, ""
            try:
                headers = self._headers(accept)
                response = self._http.request(
                    method, path, json=body, params=dict(parameters), headers=headers
                )
            except httpx.HTTPError as error:
                message = str(error) or type(error).__name__
            else:
                if response.status_code not in _RETRIED:
                    if refusable or response.is_success or response.status_code == 404:
                        return response
                    raise _error(response, path)
                message = f"{response.status_code}: {_message(response)}"
                wait = _wait(response) or pause
            if time.monotonic() + wait > deadline:
                raise UnansweredError(
                    f"the Kubernetes API server does not answer: {message}",
                    where=f"{self.server.rstrip('/')}{path}",
                    remedy="Check the cluster and the kubeconfig's context, then try again.",
                )
            time.sleep(wait)
            pause = min(pause * 2, 5.0)

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {"accept": accept}
        token = self._token()
        if token:
            headers["authorization"] = token
        return headers


def connect(context: str = "", *, patience: float = _PATIENCE) -> Kube:
    """Return the API server that the kubeconfig names, or the one of the pod this runs in.

    Args:
        context: The kubeconfig's context; empty: its current one.
        patience: Seconds to go on trying what fails for a moment.

    Raises:
        ServiceError: If there is neither, or the context is not in it.
    """
    config = _kubeconfig.load()
    settings = config.kube_config.Configuration()
    try:
        # Named, because the client reads the variable only once, when it is imported.
        kubeconfig = os.environ.get("KUBECONFIG")
        if os.environ.get(_IN_CLUSTER) and not kubeconfig and not context:
            config.load_incluster_config(client_configuration=settings)
        else:
            config.load_kube_config(
                kubeconfig, context=context or None, client_configuration=settings
            )
        verify = _verification(settings)
    except (config.ConfigException, OSError) as error:
        raise ServiceError(
            f"no Kubernetes cluster is known here: {error}",
            where="KUBECONFIG",
            remedy="Set KUBECONFIG, or the field deployment.kserve.context.",
        ) from error
    return Kube(
        settings.host,
        token=lambda: settings.get_api_key_with_prefix("authorization"),
        verify=verify,
        patience=patience,
    )


def _verification(settings: Any) -> ssl.SSLContext | bool:
    if not settings.host.startswith("https:"):
        return False
    if not settings.verify_ssl:
        return False
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert or None)
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


def _json(response: httpx.Response) -> Manifest:
    """Return the object of an answer, without the fields that are null.

    To Kubernetes a field that is null and one that is not there are the same.
    """
    with contextlib.suppress(ValueError):
        found = json.loads(response.content, object_pairs_hook=_fields)
        if isinstance(found, dict):
            return found
    raise _not_kubernetes(response, response.request.url.path)


def _fields(pairs: list[tuple[str, Any]]) -> Manifest:
    return {name: value for name, value in pairs if value is not None}


def _not_kubernetes(response: httpx.Response, path: str) -> UnansweredError:
    return UnansweredError(
        f"something else than a Kubernetes API server answers: {response.text[:200]}",
        where=path,
        remedy="Check the server of the kubeconfig's context, and any proxy before it.",
    )


def _error(response: httpx.Response, path: str) -> ServiceError:
    message = _message(response)
    if response.status_code == 409:
        return ConflictError(message, where=path)
    # A webhook's refusal is a 403 too.
    if response.status_code in (401, 403) and "denied the request" not in message:
        return ForbiddenError(
            f"this account may not do it: {message}",
            where=path,
            remedy="Run it with the service account penstock-deployer of manifests/, "
            "or give yours the same role.",
        )
    return RefusedError(f"the cluster refused it: {message}", where=path)


def _message(response: httpx.Response) -> str:
    """Return what a Status object says; a webhook's own words are in there."""
    try:
        return str(response.json()["message"])
    except (ValueError, LookupError, TypeError):
        return response.text[:500] or response.reason_phrase


def _wait(response: httpx.Response) -> float | None:
    given = response.headers.get("retry-after", "")
    return float(given) if given.isdigit() else None
