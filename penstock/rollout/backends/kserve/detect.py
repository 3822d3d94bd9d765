"""What a cluster has to offer, found out before anything of it is touched."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from penstock.cluster.client import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    GATEWAYS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    KNATIVE_SERVICES,
    SERVING_RUNTIMES,
    ForbiddenError,
    Kube,
    Manifest,
    Resource,
)
from penstock.errors import ServiceError
from penstock.rollout.spec import KserveSpec

_INSTALL = "Install KServe 0.20 or newer."
_NAMESPACE = "kserve"
_KNATIVE_PORTS = ("", "http1", "h2c")
"""Names that Knative's webhook takes for the port of a container."""


def require(kube: Kube, spec: KserveSpec) -> str:
    """Return the gateway's address, after seeing that the cluster has what a release needs.

    Raises:
        ServiceError: Naming the first thing that is missing, and what to do about it.
        ForbiddenError: If this account may not look.
    """
    _require_kind(kube, INFERENCE_SERVICES, "KServe", _INSTALL)
    _require_kind(
        kube, HTTP_ROUTES, "the Gateway API", "Install its CRDs and an implementation of it."
    )
    _require_runtime(kube, spec)
    return gateway_address(kube, spec)


def require_knative(kube: Kube, spec: KserveSpec) -> None:
    """Return if the cluster has what a release to revisions of Knative needs.

    Raises:
        ServiceError: Naming the first thing that is missing, and what to do about it.
        ForbiddenError: If this account may not look.
    """
    _require_kind(kube, INFERENCE_SERVICES, "KServe", _INSTALL)
    _require_kind(
        kube,
        KNATIVE_SERVICES,
        "Knative Serving",
        "Install it and start KServe's controller again, or take router: kserve-gateway.",
    )
    runtime = _require_runtime(kube, spec)
    for container in runtime["spec"]["containers"] if runtime else []:
        wrong = _refused_by_knative(container)
        if wrong:
            raise ServiceError(
                f"Knative refuses containers with {' and '.join(wrong)}",
                where=f"ServingRuntime {spec.runtime}, container {container['name']}",
                remedy="Apply manifests/ with the component knative, or name another in "
                "deployment.kserve.runtime.",
            )


def known_of(kube: Kube) -> str:
    """Return in words what this account may read of KServe's version and settings."""
    controller = _peek(kube, DEPLOYMENTS.path(_NAMESPACE, "kserve-controller-manager"))
    found = _peek(kube, CONFIG_MAPS.path(_NAMESPACE, "inferenceservice-config"))
    settings: dict[str, str] = (found or {}).get("data") or {}
    facts = {
        "version": _tag(controller),
        "default mode": _setting(settings, "deploy", "defaultDeploymentMode"),
        "enableGatewayApi": _setting(settings, "ingress", "enableGatewayApi"),
    }
    read = [f"{name} {value}" for name, value in facts.items() if value]
    hidden = [name for name, value in facts.items() if not value]
    if hidden:
        read.append(f"{', '.join(hidden)} not to be read by this account")
    return f"KServe: {'; '.join(read)}"


def gateway_address(kube: Kube, spec: KserveSpec) -> str:
    """Return where the gateway is reached, after seeing that its controller has taken it.

    Raises:
        ServiceError: If it is not there, was not taken, or its status names no address.
    """
    gateway = _gateway(kube, spec)
    return spec.address.rstrip("/") or _address(gateway, spec)


def namespace_and_name(spec: KserveSpec) -> tuple[str, str]:
    """Return where the Gateway is."""
    namespace, _, name = spec.gateway.rpartition("/")
    return namespace or spec.namespace, name


def condition(conditions: Iterable[Manifest], kind: str) -> Manifest:
    """Return a condition of a status; empty if it is not there."""
    return next((found for found in conditions if found.get("type") == kind), {})


def accepted(route: Manifest, spec: KserveSpec) -> str:
    """Return why a route is not in effect at its gateway, in words; empty if it is.

    The gateway's status for an older generation of it does not count.
    """
    namespace, name = namespace_and_name(spec)
    generation = route["metadata"].get("generation", 0)
    for parent in route.get("status", {}).get("parents", []):
        reference = parent["parentRef"]
        if (reference.get("namespace", spec.namespace), reference["name"]) != (namespace, name):
            continue
        for kind in ("Accepted", "ResolvedRefs"):
            found = condition(parent.get("conditions", []), kind)
            if found.get("observedGeneration", 0) < generation:
                return f"gateway {namespace}/{name} has not looked at it yet"
            if found.get("status") != "True":
                return f"{kind} is {found.get('status')}: {found.get('message', '')}"
        return ""
    return f"gateway {namespace}/{name} has not reported on it"


def _require_kind(kube: Kube, resource: Resource, what: str, remedy: str) -> None:
    found = kube.get(f"/apis/{resource.api}")
    known = {kind["name"] for kind in found.get("resources", [])} if found else set()
    if resource.plural not in known:
        raise ServiceError(
            f"{what} is not installed: there is no {resource.plural} in {resource.api}",
            where=kube.server,
            remedy=remedy,
        )


def _require_runtime(kube: Kube, spec: KserveSpec) -> Manifest | None:
    """Return the runtime; None where this account may not look for one of the whole cluster."""
    name = spec.runtime
    found = kube.get(SERVING_RUNTIMES.path(spec.namespace, name))
    if found is not None:
        return found
    try:
        found = kube.get(f"/apis/{SERVING_RUNTIMES.api}/clusterservingruntimes/{name}")
    except ForbiddenError:
        # Who may not look for one of the whole cluster may still use it; KServe will report.
        return None
    if found is None:
        raise ServiceError(
            f"there is no ServingRuntime {name}",
            where=f"namespace {spec.namespace}",
            remedy="Apply manifests/, or name another in deployment.kserve.runtime.",
        )
    return found


def _refused_by_knative(container: Manifest) -> list[str]:
    ports: list[Manifest] = container.get("ports") or []
    names = [port.get("name", "") for port in ports[:1]]
    wrong = [f"a port named {name}" for name in names if name not in _KNATIVE_PORTS]
    return wrong + ["a lifecycle"] * ("lifecycle" in container)


def _peek(kube: Kube, path: str) -> Manifest | None:
    try:
        return kube.get(path)
    except ForbiddenError:
        return None


def _tag(controller: Manifest | None) -> str:
    containers = controller["spec"]["template"]["spec"]["containers"] if controller else []
    image = next((one["image"] for one in containers if one["name"] == "manager"), "")
    return str(image).rpartition("/")[2].partition("@")[0].partition(":")[2]


def _setting(settings: dict[str, str], part: str, name: str) -> str:
    try:
        return str(json.loads(settings[part])[name])
    except (KeyError, ValueError, TypeError):
        return ""


def _gateway(kube: Kube, spec: KserveSpec) -> Manifest:
    namespace, name = namespace_and_name(spec)
    where = f"Gateway {namespace}/{name}"
    found = kube.get(GATEWAYS.path(namespace, name))
    if found is None:
        raise ServiceError(
            "there is no such gateway",
            where=where,
            remedy="Apply manifests/, or name another in deployment.kserve.gateway.",
        )
    conditions = found.get("status", {}).get("conditions", [])
    for kind in ("Accepted", "Programmed"):
        seen = condition(conditions, kind)
        if seen.get("status") != "True":
            message = seen.get("message") or "no controller has reported on it"
            raise ServiceError(
                f"it is not {kind.lower()}: {message}",
                where=where,
                remedy="Look at its GatewayClass and at the controller of that.",
            )
    return found


def _address(gateway: Manifest, spec: KserveSpec) -> str:
    namespace, name = namespace_and_name(spec)
    addresses: list[dict[str, Any]] = gateway.get("status", {}).get("addresses", [])
    if not addresses:
        raise ServiceError(
            "its status names no address",
            where=f"Gateway {namespace}/{name}",
            remedy="Give the URL at which it is reached in deployment.kserve.address.",
        )
    # A token is not sent in clear where it need not be.
    wanted = "HTTPS" if spec.access.token else "HTTP"
    listener = next(
        (one for one in gateway["spec"]["listeners"] if one["protocol"] == wanted),
        gateway["spec"]["listeners"][0],
    )
    scheme = "https" if listener["protocol"] == "HTTPS" else "http"
    usual = {"http": 80, "https": 443}[scheme]
    port = "" if listener["port"] == usual else f":{listener['port']}"
    host = addresses[0]["value"]
    return urlsplit(f"{scheme}://{f'[{host}]' if ':' in host else host}{port}").geturl()
