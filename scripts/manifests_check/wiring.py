"""Whether the resources of one overlay fit together: each policy yields what does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from manifests_check.parts import (
    RUNTIMES,
    Finding,
    Pod,
    Resource,
    find,
    namespace,
    of,
    pods,
    selects,
)

_LEVEL = "pod-security.kubernetes.io/"


def _in(resources: Sequence[Resource], place: str | None) -> list[Pod]:
    return [pod for pod in pods(resources) if namespace(pod.owner) in (place, None)]


def guarded_namespaces(resources: Sequence[Resource]) -> Iterator[Finding]:
    """A namespace of ours refuses what Pod Security `restricted` refuses, at a pinned version."""
    for resource in of(resources, "Namespace"):
        labels = resource["metadata"].get("labels", {})
        for mode in ("enforce", "audit", "warn"):
            where = f"metadata.labels.{_LEVEL}{mode}"
            if labels.get(_LEVEL + mode) != "restricted":
                yield Finding(resource, where, "must be restricted")
            if labels.get(f"{_LEVEL}{mode}-version", "latest") == "latest":
                yield Finding(resource, f"{where}-version", "must name a version")


def closed_networks(resources: Sequence[Resource]) -> Iterator[Finding]:
    """A namespace of ours is closed both ways by default, and each opening is for somebody."""
    for resource in of(resources, "Namespace"):
        place = resource["metadata"]["name"]
        if not any(
            namespace(policy) == place and _denies_all(policy)
            for policy in of(resources, "NetworkPolicy")
        ):
            yield Finding(resource, "metadata.name", "no NetworkPolicy here denies by default")
    for policy in of(resources, "NetworkPolicy"):
        selector = policy["spec"].get("podSelector", {})
        if not any(selects(selector, pod.labels) for pod in _in(resources, namespace(policy))):
            yield Finding(policy, "spec.podSelector", "matches no pod that is made here")
        yield from _open_rules(policy)


def _denies_all(policy: Resource) -> bool:
    spec = policy["spec"]
    return (
        not spec.get("podSelector")
        and set(spec.get("policyTypes", ())) == {"Ingress", "Egress"}
        and not spec.get("ingress")
        and not spec.get("egress")
    )


def _open_rules(policy: Resource) -> Iterator[Finding]:
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(policy["spec"].get(direction, ())):
            where = f"spec.{direction}[{index}]"
            if not rule.get(peers):
                yield Finding(policy, f"{where}.{peers}", "is missing: it opens to everybody")
            if not rule.get("ports"):
                yield Finding(policy, f"{where}.ports", "is missing: it opens every port")
        if policy["spec"].get(direction) and direction not in map(
            str.lower, policy["spec"].get("policyTypes", ())
        ):
            yield Finding(policy, "spec.policyTypes", f"does not hold {direction}: no effect")


def known_peers(resources: Sequence[Resource]) -> Iterator[Finding]:
    """A client from another namespace is identified by that namespace's name and its labels there.

    Anybody may put a label on a pod; the label with a namespace's name is the API server's.
    """
    for policy in of(resources, "NetworkPolicy"):
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(policy["spec"].get(direction, ())):
                for number, peer in enumerate(rule.get(peers, ())):
                    where = f"spec.{direction}[{index}].{peers}[{number}]"
                    yield from _unknown(policy, peer, where)


def _unknown(policy: Resource, peer: Mapping[str, Any], where: str) -> Iterator[Finding]:
    spaces = peer.get("namespaceSelector")
    if spaces is None:
        return
    if not spaces.get("matchLabels", {}).get("kubernetes.io/metadata.name"):
        what = "names no namespace by kubernetes.io/metadata.name: pods of others come in"
        yield Finding(policy, f"{where}.namespaceSelector", what)
    if not peer.get("podSelector"):
        yield Finding(policy, f"{where}.podSelector", "is missing: every pod of that namespace")


def reached_services(resources: Sequence[Resource]) -> Iterator[Finding]:
    """A Service selects pods, and each of its ports is one of theirs."""
    for service in of(resources, "Service"):
        selector = {"matchLabels": service["spec"].get("selector", {})}
        chosen = [p for p in _in(resources, namespace(service)) if selects(selector, p.labels)]
        if not chosen or not selector["matchLabels"]:
            yield Finding(service, "spec.selector", "matches no pod that is made here")
            continue
        open_ports = {
            value
            for pod in chosen
            for _, container in pod.containers()
            for port in container.get("ports", ())
            for value in (port.get("name"), port["containerPort"])
        }
        for index, port in enumerate(service["spec"]["ports"]):
            if port.get("targetPort", port["port"]) not in open_ports:
                where = f"spec.ports[{index}].targetPort"
                yield Finding(service, where, "is no port of the pods that it selects")


def sane_budgets(resources: Sequence[Resource]) -> Iterator[Finding]:
    """More than one replica has a disruption budget; one replica has none, or no node can drain."""
    budgets = list(of(resources, "PodDisruptionBudget"))
    used = []
    for pod in pods(resources):
        if pod.owner["kind"] not in ("Deployment", "StatefulSet"):
            continue
        replicas = pod.owner["spec"].get("replicas", 1)
        mine = [
            budget
            for budget in budgets
            if namespace(budget) == namespace(pod.owner)
            and selects(budget["spec"].get("selector", {}), pod.labels)
        ]
        used += mine
        if replicas > 1 and not mine:
            yield Finding(pod.owner, "spec.replicas", "has no PodDisruptionBudget")
        for budget in mine:
            if replicas <= budget["spec"].get("minAvailable", 0):
                yield Finding(budget, "spec.minAvailable", f"with {replicas}, no node can drain")
    for budget in budgets:
        if budget not in used:
            yield Finding(budget, "spec.selector", "matches no pod that is made here")


def present_references(resources: Sequence[Resource]) -> Iterator[Finding]:
    """ConfigMaps and volume claims that pods name are here; volumes that are mounted are named."""
    for pod in pods(resources):
        place = namespace(pod.owner)
        volumes: dict[str, Mapping[str, Any]] = {v["name"]: v for v in pod.spec.get("volumes", ())}
        for name, volume in volumes.items():
            for field, key, kind in (
                ("configMap", "name", "ConfigMap"),
                ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
            ):
                if field in volume and not find(resources, kind, volume[field][key], place):
                    where = f"{pod.path}.volumes[{name}].{field}.{key}"
                    yield Finding(pod.owner, where, f"no {kind} {volume[field][key]!r} is here")
        for path, container in pod.containers():
            for mount in container.get("volumeMounts", ()):
                if mount["name"] not in volumes:
                    where = f"{path}.volumeMounts"
                    yield Finding(pod.owner, where, f"no volume {mount['name']!r} in this pod")


def alike_runtimes(resources: Sequence[Resource]) -> Iterator[Finding]:
    """The cluster's serving runtime is the namespace's."""
    runtimes = list(of(resources, *RUNTIMES))
    for other in runtimes[1:]:
        if other["spec"] != runtimes[0]["spec"]:
            yield Finding(other, "spec", f"differs from the {runtimes[0]['kind']}'s")


def secrets_named(resources: Sequence[Resource]) -> set[tuple[str | None, str]]:
    """Return namespace and name of each Secret that must be made before these resources work."""
    named = {
        (namespace(pod.owner), reference["name"])
        for pod in pods(resources)
        for _, container in pod.containers()
        for reference in _environment(container)
    }
    for account in of(resources, "ServiceAccount"):
        named |= {(namespace(account), secret["name"]) for secret in account.get("secrets", ())}
    for gateway in of(resources, "Gateway"):
        for listener in gateway["spec"]["listeners"]:
            for reference in listener.get("tls", {}).get("certificateRefs", ()):
                named.add((namespace(gateway), reference["name"]))
    for policy in of(resources, "SecurityPolicy"):
        for reference in policy["spec"].get("apiKeyAuth", {}).get("credentialRefs", ()):
            named.add((namespace(policy), reference["name"]))
    return named


def _environment(container: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the Secrets that a container's variables come from."""
    for variable in container.get("env", ()):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            yield reference
    for source in container.get("envFrom", ()):
        if "secretRef" in source:
            yield source["secretRef"]


POLICIES: tuple[Callable[[Sequence[Resource]], Iterator[Finding]], ...] = (
    guarded_namespaces, closed_networks, known_peers, reached_services, sane_budgets,
    present_references, alike_runtimes,
)  # fmt: skip
