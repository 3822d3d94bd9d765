"""What every pod and every right must keep: each policy yields what breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from manifests_check.parts import Finding, Resource, find, namespace, of, pods

_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim"}
    | {"projected", "secret"}
)
_POWERFUL_ROLES = frozenset({"cluster-admin", "admin", "edit"})
_POWERFUL_VERBS = frozenset({"bind", "escalate", "impersonate"})
_POWERFUL_RESOURCES = frozenset(
    {"pods/exec", "pods/attach", "nodes/proxy", "serviceaccounts/token"}
)
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|CREDENTIAL|ACCESS_KEY|API_KEY")


def tagged_images(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Every image has a digest, or a tag that is not `latest`."""
    for pod in pods(resources):
        for path, container in pod.containers():
            image = container.get("image", "")
            tag = image.rpartition("/")[2].partition(":")[2]
            if "@sha256:" in image:
                continue
            if not tag:
                yield Finding(pod.owner, f"{path}.image", f"{image!r} has neither tag nor digest")
            elif tag == "latest":
                yield Finding(pod.owner, f"{path}.image", f"{image!r} changes under our feet")


def own_images(resources: Sequence[Resource], *, version: str) -> Iterator[Finding]:
    """Our images carry our version, or a digest."""
    for pod in pods(resources):
        for path, container in pod.containers():
            image = container.get("image", "")
            name, _, tag = image.rpartition(":")
            if "@" not in image and "penstock/" in name and tag != version:
                what = f"tag {tag!r} is not Penstock's version {version!r}: change `images:`"
                yield Finding(pod.owner, f"{path}.image", what)


def restricted_pods(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Pod Security `restricted`, what concerns the pod as a whole."""
    for pod in pods(resources):
        for flag in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(flag):
                yield Finding(pod.owner, f"{pod.path}.{flag}", "must not be true")
        for index, volume in enumerate(pod.spec.get("volumes", ())):
            for kind in volume.keys() - {"name"} - _VOLUMES:
                where = f"{pod.path}.volumes[{index}].{kind}"
                yield Finding(pod.owner, where, "Pod Security `restricted` refuses such a volume")
        context = pod.spec.get("securityContext", {})
        if context.get("runAsUser") == 0:
            yield Finding(pod.owner, f"{pod.path}.securityContext.runAsUser", "0 is root")
        if context.get("sysctls"):
            yield Finding(pod.owner, f"{pod.path}.securityContext.sysctls", "must not be set")


def restricted_containers(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Pod Security `restricted`, container by container, and a read-only root besides."""
    for pod in pods(resources):
        whole = pod.spec.get("securityContext", {})
        for path, container in pod.containers():
            context = container.get("securityContext", {})
            for field, what in _broken(context, {**whole, **context}):
                yield Finding(pod.owner, f"{path}.securityContext.{field}", what)
            for index, port in enumerate(container.get("ports", ())):
                if port.get("hostPort"):
                    yield Finding(pod.owner, f"{path}.ports[{index}].hostPort", "must not be set")


def _broken(own: Mapping[str, Any], effective: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    capabilities = own.get("capabilities", {})
    seccomp = effective.get("seccompProfile", {}).get("type")
    rules = (
        ("runAsNonRoot", effective.get("runAsNonRoot") is True, "must be true"),
        ("runAsUser", own.get("runAsUser") != 0, "0 is root"),
        ("readOnlyRootFilesystem", own.get("readOnlyRootFilesystem") is True, "must be true"),
        ("allowPrivilegeEscalation", own.get("allowPrivilegeEscalation") is False, "must be false"),
        ("privileged", not own.get("privileged"), "must not be true"),
        ("procMount", own.get("procMount", "Default") == "Default", "must be Default"),
        ("capabilities.drop", "ALL" in capabilities.get("drop", ()), "must hold ALL"),
        (
            "capabilities.add",
            set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"},
            "may hold NET_BIND_SERVICE alone",
        ),
        (
            "seccompProfile.type",
            seccomp in ("RuntimeDefault", "Localhost"),
            "RuntimeDefault, please",
        ),
    )
    return ((field, what) for field, holds, what in rules if not holds)


def bounded(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Every container asks for, and is limited in, CPU and memory; every emptyDir in size."""
    for pod in pods(resources):
        for path, container in pod.containers():
            for kind in ("requests", "limits"):
                for unit in ("cpu", "memory"):
                    if unit not in container.get("resources", {}).get(kind, {}):
                        yield Finding(pod.owner, f"{path}.resources.{kind}.{unit}", "is missing")
        for index, volume in enumerate(pod.spec.get("volumes", ())):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                where = f"{pod.path}.volumes[{index}].emptyDir.sizeLimit"
                yield Finding(pod.owner, where, "is missing: it could fill the node's disk")


def probed(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Whatever listens says when it is ready, and when it hangs."""
    for pod in pods(resources):
        for index, container in enumerate(pod.spec.get("containers", ())):
            for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
                if container.get("ports") and probe not in container:
                    where = f"{pod.path}.containers[{index}].{probe}"
                    yield Finding(pod.owner, where, "is missing, and it listens on a port")


def least_privilege(resources: Sequence[Resource]) -> Iterator[Finding]:
    """No wildcard, no verb or resource that gives everything, no Secret but by name."""
    for role in of(resources, "Role", "ClusterRole"):
        for index, rule in enumerate(role.get("rules") or ()):
            for field in ("apiGroups", "resources", "verbs"):
                if "*" in rule.get(field, ()):
                    yield Finding(role, f"rules[{index}].{field}", "holds a wildcard")
            for verb in _POWERFUL_VERBS.intersection(rule.get("verbs", ())):
                yield Finding(role, f"rules[{index}].verbs", f"{verb} gives away every right")
            asked = rule.get("resources", ())
            for name in _POWERFUL_RESOURCES.intersection(asked):
                yield Finding(role, f"rules[{index}].resources", f"{name} runs code as others")
            if "secrets" in asked and (
                not rule.get("resourceNames") or {"list", "watch"} & set(rule["verbs"])
            ):
                yield Finding(role, f"rules[{index}].resourceNames", "name the Secrets, get alone")


def sound_bindings(resources: Sequence[Resource]) -> Iterator[Finding]:
    """A binding's role and accounts are here, and the role is not one of the cluster's big ones."""
    for binding in of(resources, "RoleBinding", "ClusterRoleBinding"):
        reference = binding["roleRef"]
        place = namespace(binding) if reference["kind"] == "Role" else None
        if reference["name"] in _POWERFUL_ROLES:
            yield Finding(binding, "roleRef.name", f"{reference['name']} gives far too much")
        elif not find(resources, reference["kind"], reference["name"], place):
            yield Finding(binding, "roleRef.name", f"no {reference['kind']} of that name is here")
        for index, subject in enumerate(binding.get("subjects", ())):
            where = f"subjects[{index}].name"
            if subject["kind"] != "ServiceAccount":
                yield Finding(binding, where, f"a {subject['kind']} is not an account of ours")
            elif not find(resources, "ServiceAccount", subject["name"], subject.get("namespace")):
                yield Finding(binding, where, f"no account {subject['name']!r} is here")


def accounts(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Each pod has an account of ours; a token is mounted only where the account has rights."""
    bound = {
        (subject.get("namespace"), subject["name"])
        for binding in of(resources, "RoleBinding", "ClusterRoleBinding")
        for subject in binding.get("subjects", ())
    }
    for account in of(resources, "ServiceAccount"):
        key = namespace(account), account["metadata"]["name"]
        if account.get("automountServiceAccountToken") is not False and key not in bound:
            yield Finding(
                account, "automountServiceAccountToken", "must be false: it has no rights"
            )
    for pod in pods(resources):
        if pod.runtime:
            continue
        name, where = pod.spec.get("serviceAccountName"), f"{pod.path}.serviceAccountName"
        if not name:
            yield Finding(pod.owner, where, "is missing: it would run as `default`")
        elif not find(resources, "ServiceAccount", name, namespace(pod.owner)):
            yield Finding(pod.owner, where, f"no account {name!r} is here")


def no_secrets(resources: Sequence[Resource]) -> Iterator[Finding]:
    """No Secret's content, neither as a Secret nor in a variable, an argument or a ConfigMap."""
    for secret in of(resources, "Secret"):
        for field in ("data", "stringData"):
            if secret.get(field):
                yield Finding(secret, field, "a Secret in clear: make it with kubectl, refer to it")
    yield from _literal_secrets(resources)
    for config in of(resources, "ConfigMap"):
        for key, text in config.get("data", {}).items():
            if re.search(r"(?im)^\s*\w*password\s*[=:]\s*\S|://[^/\s:@]+:[^/\s@]+@", text):
                yield Finding(config, f"data.{key}", "holds a password")


def _literal_secrets(resources: Sequence[Resource]) -> Iterator[Finding]:
    for pod in pods(resources):
        for path, container in pod.containers():
            for index, variable in enumerate(container.get("env", ())):
                if variable.get("value") and _SECRET_NAME.search(variable["name"]):
                    where = f"{path}.env[{index}].value"
                    yield Finding(pod.owner, where, f"{variable['name']} belongs into a Secret")


POLICIES: tuple[Callable[[Sequence[Resource]], Iterator[Finding]], ...] = (
    tagged_images, restricted_pods, restricted_containers, bounded, probed, least_privilege,
    sound_bindings, accounts, no_secrets,
)  # fmt: skip
