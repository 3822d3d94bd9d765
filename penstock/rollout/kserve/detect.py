"""What a cluster has to offer, found out before anything of it is touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from penstock.errors import ServiceError
from penstock.kube import (
    GATEWAYS,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    SERVING_RUNTIMES,
    ForbiddenError,
    Kube,
    Manifest,
    Resource,
)
from penstock.rollout.spec import KserveSpec


def require(kube: Kube, spec: KserveSpec) -> str:
    """Return the gateway's address, after seeing that the cluster has what a release needs.

    Raises:
        ServiceError: Naming the first thing that is missing, and what to do about it.
        ForbiddenError: If this account may not look.
    """
    _require_kind(kube, INFERENCE_SERVICES, "KServe", "Install KServe 0.20 or newer.")
    _require_kind(
        kube, HTTP_ROUTES, "the Gateway API", "Install its CRDs and an implementation of it."
    )
    _require_runtime(kube, spec)
    return gateway_address(kube, spec)


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

    What the gateway said of an older generation of it does not count.
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
    return f"gateway {namespace}/{name} has said nothing of it"


def _require_kind(kube: Kube, resource: Resource, what: str, remedy: str) -> None:
    found = kube.get(f"/apis/{resource.api}")
    known = {kind["name"] for kind in found.get("resources", [])} if found else set()
    if resource.plural not in known:
        raise ServiceError(
            f"{what} is not installed: there is no {resource.plural} in {resource.api}",
            where=kube.server,
            remedy=remedy,
        )


def _require_runtime(kube: Kube, spec: KserveSpec) -> None:
    name, where = spec.runtime, f"namespace {spec.namespace}"
    if kube.get(SERVING_RUNTIMES.path(spec.namespace, name)) is not None:
        return
    try:
        path = f"/apis/{SERVING_RUNTIMES.api}/clusterservingruntimes/{name}"
        if kube.get(path) is not None:
            return
    except ForbiddenError:
        # Whoever may not look for one of the whole cluster may still use it; KServe will tell.
        return
    raise ServiceError(
        f"there is no ServingRuntime {name}",
        where=where,
        remedy="Apply manifests/, or name another in deployment.kserve.runtime.",
    )


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
            said = seen.get("message") or "no controller has said anything of it"
            raise ServiceError(
                f"it is not {kind.lower()}: {said}",
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
    listener = next(
        (one for one in gateway["spec"]["listeners"] if one["protocol"] == "HTTP"),
        gateway["spec"]["listeners"][0],
    )
    scheme = "https" if listener["protocol"] == "HTTPS" else "http"
    usual = {"http": 80, "https": 443}[scheme]
    port = "" if listener["port"] == usual else f":{listener['port']}"
    host = addresses[0]["value"]
    return urlsplit(f"{scheme}://{f'[{host}]' if ':' in host else host}{port}").geturl()
