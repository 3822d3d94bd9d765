"""Each policy refuses a manifest that breaks it, and says which file, resource and field."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from manifests_check.__main__ import check
from manifests_check.parts import Resource
from manifests_check.schemas import Schemas

Resources = list[dict[str, Any]]

GOOD = """
apiVersion: v1
kind: Namespace
metadata:
  name: penstock
  labels:
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/enforce-version: v1.36
    pod-security.kubernetes.io/audit: restricted
    pod-security.kubernetes.io/audit-version: v1.36
    pod-security.kubernetes.io/warn: restricted
    pod-security.kubernetes.io/warn-version: v1.36
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: penstock}
automountServiceAccountToken: false
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: penstock}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: penstock}
rules:
  - {apiGroups: [""], resources: [pods], verbs: [get]}
  - {apiGroups: [""], resources: [secrets], resourceNames: [one], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: penstock}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: penstock}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: penstock}
data: {settings.ini: "database = postgresql://host/name"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: penstock}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: web
          image: penstock/web:0.1.0
          env: [{name: HOME, value: /tmp}]
          ports: [{name: http, containerPort: 80}]
          readinessProbe: &probe {httpGet: {path: /, port: http}}
          livenessProbe: *probe
          startupProbe: *probe
          resources: {requests: {cpu: 1m, memory: 1Mi}, limits: {cpu: 1m, memory: 1Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts: [{name: tmp, mountPath: /tmp}, {name: settings, mountPath: /etc/web}]
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 1Mi}}
        - {name: settings, configMap: {name: settings}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: penstock}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: penstock}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: penstock}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: penstock}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]
---
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: run, namespace: penstock}
spec:
  supportedModelFormats: [{name: penstock, version: "1"}]
  containers:
    - name: kserve-container
      image: penstock/serving@sha256:aaaa
      resources: {requests: {cpu: 1m, memory: 1Mi}, limits: {cpu: 1m, memory: 1Mi}}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        runAsNonRoot: true
        capabilities: {drop: [ALL]}
        seccompProfile: {type: RuntimeDefault}
"""


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas(kubernetes="1.36.1")


@pytest.fixture
def good() -> Resources:
    documents = list(yaml.safe_load_all(GOOD))
    runtime = {**documents[-1], "kind": "ClusterServingRuntime", "metadata": {"name": "run"}}
    # By way of text, so that no part is shared: what is broken in one place is whole in another.
    result: Resources = json.loads(json.dumps([*documents, runtime]))
    return result


def found(resources: Resources, schemas: Schemas) -> list[str]:
    problems, _ = check("some/file", resources, schemas=schemas)
    return [str(problem) for problem in problems]


def one(resources: Resources, kind: str, name: str) -> dict[str, Any]:
    return next(r for r in resources if r["kind"] == kind and r["metadata"]["name"] == name)


def put(kind: str, name: str, path: str, value: Any) -> Callable[[Resources], None]:
    """Set a field, or with `...` take it away."""

    def change(resources: Resources) -> None:
        *parents, last = (
            int(part) if part.isdigit() else part.replace("~", "/") for part in path.split("/")
        )
        place: Any = one(resources, kind, name)
        for part in parents:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
        if value is ...:
            del place[last]
        elif isinstance(place, list):
            place.insert(last, value)
        else:
            place[last] = value

    return change


def web(path: str, value: Any) -> Callable[[Resources], None]:
    return put("Deployment", "web", f"spec/template/spec/{path}", value)


def first(path: str, value: Any) -> Callable[[Resources], None]:
    return web(f"containers/0/{path}", value)


def role(path: str, value: Any) -> Callable[[Resources], None]:
    return put("Role", "reader", f"rules/0/{path}", value)


def policy(path: str, value: Any) -> Callable[[Resources], None]:
    return put("NetworkPolicy", "web", f"spec/{path}", value)


def add(text: str) -> Callable[[Resources], None]:
    return lambda resources: resources.append(yaml.safe_load(text))


def without(kind: str, name: str) -> Callable[[Resources], None]:
    return lambda resources: resources.remove(one(resources, kind, name))


DEPLOYMENT = "Deployment penstock/web: spec.template.spec"
CONTAINER = f"{DEPLOYMENT}.containers[0]"
ACCOUNT = "ServiceAccount"
LABELLED = {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
MONITORING = {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
LABELS = "metadata/labels/pod-security.kubernetes.io~"
INITIAL = {
    "name": "first",
    "image": "a:1",
    "resources": {"requests": {"cpu": 1, "memory": 1}, "limits": {"cpu": 1, "memory": 1}},
}
SECRET = "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: penstock}, %s: {a: Yg==}}"
BOUND = """{apiVersion: rbac.authorization.k8s.io/v1, kind: %s,
metadata: {name: b, namespace: penstock},
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %s, name: %s},
subjects: [{kind: %s, name: %s, namespace: penstock}]}"""

BAD: dict[str, tuple[Callable[[Resources], None], str]] = {
    "latest": (first("image", "a/b:latest"), f"{CONTAINER}.image: 'a/b:latest' changes"),
    "untagged": (first("image", "host:5000/b"), f"{CONTAINER}.image: 'host:5000/b' has neither"),
    "other version": (first("image", "r.io/penstock/web:9"), f"{CONTAINER}.image: tag '9' is not"),
    "host network": (web("hostNetwork", True), f"{DEPLOYMENT}.hostNetwork: must not"),
    "host pid": (web("hostPID", True), f"{DEPLOYMENT}.hostPID: must not"),
    "host ipc": (web("hostIPC", True), f"{DEPLOYMENT}.hostIPC: must not"),
    "host path": (
        web("volumes/0", {"name": "h", "hostPath": {"path": "/"}}),
        f"{DEPLOYMENT}.volumes[0].hostPath: Pod Security",
    ),
    "sysctl": (
        web("securityContext/sysctls", [{"name": "a", "value": "b"}]),
        f"{DEPLOYMENT}.securityContext.sysctls: must not",
    ),
    "root pod": (web("securityContext/runAsUser", 0), f"{DEPLOYMENT}.securityContext.runAsUser: 0"),
    "root": (first("securityContext/runAsUser", 0), f"{CONTAINER}.securityContext.runAsUser: 0"),
    "maybe root": (web("securityContext/runAsNonRoot", ...), "securityContext.runAsNonRoot: must"),
    "overruled": (first("securityContext/runAsNonRoot", False), ".runAsNonRoot: must be true"),
    "writable": (
        first("securityContext/readOnlyRootFilesystem", ...),
        f"{CONTAINER}.securityContext.readOnlyRootFilesystem: must be true",
    ),
    "escalation": (
        first("securityContext/allowPrivilegeEscalation", ...),
        f"{CONTAINER}.securityContext.allowPrivilegeEscalation: must be false",
    ),
    "privileged": (first("securityContext/privileged", True), f"{CONTAINER}.securityContext.priv"),
    "proc": (first("securityContext/procMount", "Unmasked"), f"{CONTAINER}.securityContext.procM"),
    "capabilities": (first("securityContext/capabilities", ...), ".capabilities.drop: must hold"),
    "capability": (
        first("securityContext/capabilities/add", ["NET_RAW"]),
        f"{CONTAINER}.securityContext.capabilities.add: may hold",
    ),
    "seccomp": (
        web("securityContext/seccompProfile/type", "Unconfined"),
        f"{CONTAINER}.securityContext.seccompProfile.type: RuntimeDefault",
    ),
    "host port": (first("ports/0/hostPort", 80), f"{CONTAINER}.ports[0].hostPort: must not"),
    "initial container": (
        web("initContainers", [INITIAL]),
        f"{DEPLOYMENT}.initContainers[0].securityContext.capabilities.drop: must hold ALL",
    ),
    "runtime": (
        put("ServingRuntime", "run", "spec/containers/0/securityContext/runAsNonRoot", ...),
        "ServingRuntime penstock/run: spec.containers[0].securityContext.runAsNonRoot: must",
    ),
    "cluster runtime": (
        put("ClusterServingRuntime", "run", "spec/containers/0/args", ["a"]),
        "ClusterServingRuntime run: spec: differs from the ServingRuntime's",
    ),
    "no limit": (first("resources/limits/memory", ...), ".resources.limits.memory: is missing"),
    "no request": (first("resources/requests/cpu", ...), ".resources.requests.cpu: is missing"),
    "no resources": (first("resources", ...), f"{CONTAINER}.resources.limits.cpu: is missing"),
    "boundless": (web("volumes/0/emptyDir", {}), "volumes[0].emptyDir.sizeLimit: is missing"),
    "no readiness": (first("readinessProbe", ...), f"{CONTAINER}.readinessProbe: is missing"),
    "no liveness": (first("livenessProbe", ...), f"{CONTAINER}.livenessProbe: is missing"),
    "no startup": (first("startupProbe", ...), f"{CONTAINER}.startupProbe: is missing"),
    "any verb": (role("verbs", ["*"]), "Role penstock/reader: rules[0].verbs: holds a wildcard"),
    "any resource": (role("resources", ["*"]), "rules[0].resources: holds a wildcard"),
    "any group": (role("apiGroups", ["*"]), "rules[0].apiGroups: holds a wildcard"),
    "impersonate": (role("verbs", ["impersonate"]), "rules[0].verbs: impersonate gives away"),
    "exec": (role("resources", ["pods/exec"]), "rules[0].resources: pods/exec runs code"),
    "all secrets": (role("resources", ["secrets"]), "rules[0].resourceNames: name the Secrets"),
    "listed secrets": (
        put("Role", "reader", "rules/1/verbs", ["get", "list"]),
        "Role penstock/reader: rules[1].resourceNames: name the Secrets, get alone",
    ),
    "cluster-admin": (
        add(BOUND % ("ClusterRoleBinding", "ClusterRole", "cluster-admin", ACCOUNT, "reader")),
        "roleRef.name: cluster-admin gives far too much",
    ),
    "edit": (
        add(BOUND % ("RoleBinding", "ClusterRole", "edit", ACCOUNT, "reader")),
        "RoleBinding penstock/b: roleRef.name: edit gives far too much",
    ),
    "no such role": (
        add(BOUND % ("RoleBinding", "Role", "nobody", ACCOUNT, "reader")),
        "RoleBinding penstock/b: roleRef.name: no Role of that name is here",
    ),
    "no such account": (
        add(BOUND % ("RoleBinding", "Role", "reader", ACCOUNT, "nobody")),
        "RoleBinding penstock/b: subjects[0].name: no account 'nobody' is here",
    ),
    "everybody": (
        add(BOUND % ("RoleBinding", "Role", "reader", "Group", "system:authenticated")),
        "RoleBinding penstock/b: subjects[0].name: a Group is not an account of ours",
    ),
    "token": (
        put("ServiceAccount", "web", "automountServiceAccountToken", ...),
        "ServiceAccount penstock/web: automountServiceAccountToken: must be false",
    ),
    "default account": (web("serviceAccountName", ...), f"{DEPLOYMENT}.serviceAccountName: is mis"),
    "strange account": (web("serviceAccountName", "x"), f"{DEPLOYMENT}.serviceAccountName: no acc"),
    "secret": (add(SECRET % "data"), "Secret penstock/s: data: a Secret in clear"),
    "secret text": (add(SECRET % "stringData"), "Secret penstock/s: stringData: a Secret in clear"),
    "password variable": (
        first("env/1", {"name": "PGPASSWORD", "value": "x"}),
        f"{CONTAINER}.env[1].value: PGPASSWORD belongs into a Secret",
    ),
    "password setting": (
        put("ConfigMap", "settings", "data", {"a.ini": "x = 1\nadmin_password = secret"}),
        "ConfigMap penstock/settings: data.a.ini: holds a password",
    ),
    "password address": (
        put("ConfigMap", "settings", "data", {"a.ini": "uri = postgresql://me:pw@host/db"}),
        "ConfigMap penstock/settings: data.a.ini: holds a password",
    ),
    "unguarded": (
        put("Namespace", "penstock", LABELS + "enforce", ...),
        "metadata.labels.pod-security.kubernetes.io/enforce: must be restricted",
    ),
    "unpinned guard": (
        put("Namespace", "penstock", LABELS + "warn-version", ...),
        "metadata.labels.pod-security.kubernetes.io/warn-version: must name a version",
    ),
    "open network": (
        without("NetworkPolicy", "default-deny"),
        "Namespace penstock: metadata.name: no NetworkPolicy here denies by default",
    ),
    "half-open network": (
        put("NetworkPolicy", "default-deny", "spec/policyTypes", ["Ingress"]),
        "Namespace penstock: metadata.name: no NetworkPolicy here denies by default",
    ),
    "policy for nobody": (
        policy("podSelector", {"matchLabels": {"app": "wep"}}),
        "NetworkPolicy penstock/web: spec.podSelector: matches no pod",
    ),
    "open to all": (policy("ingress/0/from", ...), "spec.ingress[0].from: is missing"),
    "every port": (policy("ingress/0/ports", ...), "spec.ingress[0].ports: is missing"),
    "pods of any namespace": (
        policy("ingress/0/from/0", {"namespaceSelector": {}, "podSelector": LABELLED}),
        "spec.ingress[0].from[0].namespaceSelector: names no namespace",
    ),
    "a namespace by a label of anybody's": (
        policy(
            "ingress/0/from/0",
            {"namespaceSelector": {"matchLabels": {"team": "a"}}, "podSelector": LABELLED},
        ),
        "spec.ingress[0].from[0].namespaceSelector: names no namespace",
    ),
    "every pod of a namespace": (
        policy("ingress/0/from/0", {"namespaceSelector": MONITORING}),
        "spec.ingress[0].from[0].podSelector: is missing",
    ),
    "no effect": (policy("policyTypes", ["Egress"]), "spec.policyTypes: does not hold ingress"),
    "service for nobody": (
        put("Service", "web", "spec/selector/app", "wep"),
        "Service penstock/web: spec.selector: matches no pod",
    ),
    "service port": (
        put("Service", "web", "spec/ports/0/targetPort", "htpp"),
        "Service penstock/web: spec.ports[0].targetPort: is no port",
    ),
    "no budget": (
        without("PodDisruptionBudget", "web"),
        "Deployment penstock/web: spec.replicas: has no PodDisruptionBudget",
    ),
    "undrainable": (
        put("Deployment", "web", "spec/replicas", 1),
        "PodDisruptionBudget penstock/web: spec.minAvailable: with 1, no node can drain",
    ),
    "budget for nobody": (
        put("PodDisruptionBudget", "web", "spec/selector/matchLabels/app", "wep"),
        "PodDisruptionBudget penstock/web: spec.selector: matches no pod",
    ),
    "no such settings": (
        web("volumes/1/configMap/name", "x"),
        f"{DEPLOYMENT}.volumes[settings].configMap.name: no ConfigMap 'x' is here",
    ),
    "no such claim": (
        web("volumes/0", {"name": "d", "persistentVolumeClaim": {"claimName": "x"}}),
        f"{DEPLOYMENT}.volumes[d].persistentVolumeClaim.claimName: no PersistentVolumeClaim 'x'",
    ),
    "no such volume": (first("volumeMounts/0/name", "x"), ".volumeMounts: no volume 'x' in"),
    "undocumented secret": (
        first("env/1", {"name": "A", "valueFrom": {"secretKeyRef": {"name": "zz", "key": "k"}}}),
        "Secret penstock/zz: metadata.name: is referred to, but docs/cluster.md does not say",
    ),
    "misspelt field": (
        put("Deployment", "web", "spec/replica", 2),
        "Deployment penstock/web: spec: Additional properties are not allowed ('replica' was",
    ),
    "misspelt field of a pod": (web("hostNetwrok", True), "('hostNetwrok' was unexpected)"),
    "wrong type": (put("Deployment", "web", "spec/replicas", "2"), "spec.replicas: '2' is not of"),
    "misspelt field of a runtime": (
        put("ServingRuntime", "run", "spec/protocolVersion", ["v2"]),
        "ServingRuntime penstock/run: spec.protocolVersion: V1alpha1ServingRuntimeSpec has no such",
    ),
    "misspelt field of a runtime's container": (
        put("ServingRuntime", "run", "spec/containers/0/arg", ["a"]),
        "ServingRuntime penstock/run: spec.containers[0].arg: V1Container has no such field",
    ),
    "wrong type in a runtime": (
        put("ServingRuntime", "run", "spec/supportedModelFormats/0/version", 1),
        "spec.supportedModelFormats[0].version: expected str, got 1",
    ),
}


def test_the_good_one_is_good(good: Resources, schemas: Schemas) -> None:
    assert found(good, schemas) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_one_is_refused(name: str, good: Resources, schemas: Schemas) -> None:
    change, message = BAD[name]
    change(good)
    said = found(good, schemas)
    assert any(line.startswith("some/file: ") and message in line for line in said), said
    # One mistake is told once or, by another policy that it breaks too, twice.
    assert len(said) <= (4 if name in ("no resources", "initial container") else 2), said


def test_a_kind_without_a_schema_is_named(schemas: Schemas) -> None:
    unknown: Resource = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "g", "namespace": "penstock"},
        "spec": {"listeners": []},
    }
    problems, kinds = check("some/file", [unknown], schemas=schemas)
    assert problems == []
    assert kinds == {"gateway.networking.k8s.io/v1 Gateway"}
