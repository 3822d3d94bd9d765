"""What each account may do, asked of the API server of an existing cluster: `make test-cluster`.

Every verb of every resource that the server offers is asked, for every account, in each namespace
and in the whole cluster; what an account without any binding may do as well is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from cluster_site import NAMESPACE, NEEDS_CLUSTER, PIPELINES, REGISTRY, built, objects

from penstock.cluster.client import Kube, connect

pytestmark = [pytest.mark.slow, NEEDS_CLUSTER]

ACCOUNTS = {
    "penstock-pipeline": PIPELINES,
    "penstock-deployer": PIPELINES,
    "penstock-server": NAMESPACE,
    "penstock-mlflow": REGISTRY,
    "penstock-monitor": NAMESPACE,
}

RUNS = """
    workflowtaskresults.argoproj.io  create patch
    pods                             get
    configmaps/kfp-launcher          get
    secrets/mlpipeline-minio-artifact  get
"""
"""What every run of Kubeflow Pipelines needs, in the pipelines' namespace."""

TABLE: dict[str, dict[str, str]] = {
    "penstock-pipeline": {PIPELINES: RUNS},
    "penstock-deployer": {
        PIPELINES: RUNS,
        NAMESPACE: """
            inferenceservices.serving.kserve.io   get list create update delete
            servingruntimes.serving.kserve.io     get
            httproutes.gateway.networking.k8s.io  get create update delete
            gateways.gateway.networking.k8s.io    get
            leases.coordination.k8s.io            get create update
            configmaps                            get list create update delete
            pods                                  list
            pods:log                              get
        """,
    },
    "penstock-server": {},
    "penstock-mlflow": {},
    "penstock-monitor": {
        NAMESPACE: """
            inferenceservices.serving.kserve.io   get list watch
            httproutes.gateway.networking.k8s.io  get list watch
            gateways.gateway.networking.k8s.io    get
            leases.coordination.k8s.io            get list watch
            configmaps                            get list watch
            pods                                  get list watch
            events                                get list watch
        """,
    },
}
"""By account and namespace, what it may do: `resource:part.group/name  verbs`."""

REFUSED = [
    ("get", "secrets"),
    ("list", "secrets"),
    ("create", "pods"),
    ("delete", "pods"),
    ("create", "pods:exec"),
    ("create", "pods:portforward"),
    ("create", "deployments.apps"),
    ("patch", "deployments.apps"),
    ("delete", "deployments.apps"),
    ("delete", "services"),
    ("delete", "persistentvolumeclaims"),
    ("delete", "gateways.gateway.networking.k8s.io"),
    ("patch", "servingruntimes.serving.kserve.io"),
    ("delete", "leases.coordination.k8s.io"),
    ("delete", "networkpolicies.networking.k8s.io"),
    ("create", "serviceaccounts:token"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("escalate", "roles.rbac.authorization.k8s.io"),
    ("bind", "roles.rbac.authorization.k8s.io"),
    ("impersonate", "serviceaccounts"),
    ("deletecollection", "inferenceservices.serving.kserve.io"),
    ("deletecollection", "configmaps"),
]
"""What none of them may do anywhere, in words that people look for."""

SPECIAL = {
    "serviceaccounts": {"impersonate"},
    "roles.rbac.authorization.k8s.io": {"bind", "escalate"},
    "clusterroles.rbac.authorization.k8s.io": {"bind", "escalate"},
    "certificatesigningrequests.certificates.k8s.io": {"approve"},
    "signers.certificates.k8s.io": {"approve", "sign"},
    "users": {"impersonate"},
    "groups": {"impersonate"},
}
"""Verbs that discovery does not tell."""


VERBS = frozenset(
    ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
)


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one kind of object; an empty namespace means the whole cluster."""

    namespace: str
    resource: str
    verb: str

    def review(self, account: str, home: str) -> dict[str, Any]:
        """Return the question whether the account may."""
        kind, _, name = self.resource.partition("/")
        plural, _, group = kind.partition(".")
        resource, _, part = plural.partition(":")
        asked = {"namespace": self.namespace, "verb": self.verb, "group": group,
                 "resource": resource, "subresource": part, "name": name}  # fmt: skip
        return _of(account, home) | {"resourceAttributes": asked}


def _of(account: str, home: str) -> dict[str, Any]:
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated"]
    return {"user": f"system:serviceaccount:{home}:{account}", "groups": groups}


@pytest.fixture(scope="module")
def kube() -> Kube:
    return connect()


def may(kube: Kube, spec: dict[str, Any]) -> bool:
    answer = kube.create(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
    )
    assert "evaluationError" not in answer["status"], answer["status"]
    return bool(answer["status"]["allowed"])


def allowed(kube: Kube, account: str, home: str, asked: Iterable[Right]) -> tuple[set[Right], int]:
    """Return which of them an account may do, and how many were asked."""
    every = sorted(set(asked))
    with ThreadPoolExecutor(4) as pool:
        told = pool.map(lambda right: may(kube, right.review(account, home)), every)
        return {right for right, yes in zip(every, told, strict=True) if yes}, len(every)


def table_of(account: str) -> set[Right]:
    return {
        Right(namespace, resource, verb)
        for namespace, lines in TABLE[account].items()
        for line in lines.split("\n")
        if line.strip()
        for resource, *verbs in [line.split()]
        for verb in verbs
    }


@cache
def offered() -> dict[str, tuple[bool, frozenset[str]]]:
    """Return each resource that the server offers: whether it is in namespaces, and its verbs."""
    kube = connect()
    paths = ["/api/v1"]
    for group in (kube.get("/apis") or {})["groups"]:
        paths += [f"/apis/{version['groupVersion']}" for version in group["versions"]]
    found: dict[str, tuple[bool, frozenset[str]]] = {}
    for path in paths:
        group = path.removeprefix("/apis/").rpartition("/")[0] if path != "/api/v1" else ""
        for each in (kube.get(path) or {"resources": []})["resources"]:
            name = each["name"].replace("/", ":") + (f".{group}" if group else "")
            earlier = found.get(name, (False, frozenset()))[1]
            verbs = earlier | frozenset(each["verbs"]) | SPECIAL.get(name, frozenset())
            found[name] = (each["namespaced"], verbs)
    for name, more in SPECIAL.items():
        found.setdefault(name, (False, frozenset(more)))
    return found


def questions() -> Iterator[Right]:
    """Yield every verb of every resource, in each namespace and over the whole cluster."""
    for name, (namespaced, verbs) in offered().items():
        places = ("", NAMESPACE, PIPELINES, REGISTRY) if namespaced else ("",)
        yield from (Right(place, name, verb) for place in places for verb in verbs)
    named = {right.resource for account in TABLE for right in table_of(account)}
    for name in named - offered().keys():
        # One object of a kind, or a kind that this server does not know: Argo's without Kubeflow.
        verbs = offered().get(name.partition("/")[0], (True, VERBS))[1]
        places = (NAMESPACE, PIPELINES, REGISTRY)
        yield from (Right(place, name, verb) for place in places for verb in verbs)


def manifests_say(account: str) -> set[Right]:
    """Return the table as the Roles and RoleBindings of the overlay make it."""
    roles, rights = {}, set()
    found = built()
    for item in found:
        if item["kind"] == "Role":
            roles[item["metadata"]["namespace"], item["metadata"]["name"]] = item["rules"]
    for item in found:
        assert item["kind"] not in ("ClusterRole", "ClusterRoleBinding")
        if item["kind"] != "RoleBinding":
            continue
        if account not in {subject["name"] for subject in item["subjects"]}:
            continue
        namespace = item["metadata"]["namespace"]
        for rule in roles[namespace, item["roleRef"]["name"]]:
            rights |= {
                Right(namespace, _resource(plural, group, name), verb)
                for group in rule["apiGroups"]
                for plural in rule["resources"]
                for name in rule.get("resourceNames", [""])
                for verb in rule["verbs"]
            }
    return rights


def _resource(plural: str, group: str, name: str) -> str:
    return plural.replace("/", ":") + (f".{group}" if group else "") + (f"/{name}" if name else "")


def told(rights: set[Right]) -> list[str]:
    return [
        f"{right.verb} {right.resource} in {right.namespace or 'the whole cluster'}"
        for right in sorted(rights)
    ]


@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_table_is_what_the_manifests_say(account: str) -> None:
    assert told(manifests_say(account)) == told(table_of(account))


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_account_may_do_exactly_what_the_table_says(kube: Kube, account: str) -> None:
    home = ACCOUNTS[account]
    mine, asked = allowed(kube, account, home, questions())
    everybodys, _ = allowed(kube, "penstock-test-nobody", home, mine)
    wanted = _with_narrower(table_of(account), mine)
    missing, beyond = told(wanted - mine), told(mine - wanted - everybodys)
    print(f"{account}: {asked} questions, {len(mine)} allowed, {len(everybodys)} of them to all")
    assert asked > 500
    assert (missing, beyond) == ([], [])


def _with_narrower(table: set[Right], mine: set[Right]) -> set[Right]:
    """Add the named objects of kinds that are allowed as a whole."""
    return table | {
        right for right in mine
        if "/" in right.resource
        and Right(right.namespace, right.resource.partition("/")[0], right.verb) in table
    }  # fmt: skip


@pytest.mark.parametrize("account", ACCOUNTS)
def test_no_account_may_do_the_notable(kube: Kube, account: str) -> None:
    rights = [
        Right(namespace, resource, verb)
        for verb, resource in REFUSED
        for namespace in (NAMESPACE, PIPELINES, REGISTRY, "kube-system", "")
    ]
    every = [
        Right(namespace, f"secrets/{item['metadata']['name']}", "get")
        for namespace in (NAMESPACE, PIPELINES, REGISTRY)
        for item in objects("secrets", namespace)
    ]
    assert every
    rights += set(every) - table_of(account)
    found, _ = allowed(kube, account, ACCOUNTS[account], rights)
    assert told(found) == []


@pytest.mark.parametrize("account", ACCOUNTS)
def test_no_account_sees_more_of_the_server_itself(kube: Kube, account: str) -> None:
    paths = ("/", "/metrics", "/logs", "/debug/pprof", "/configz", "/api", "/healthz", "/version")

    def seen(name: str) -> set[str]:
        who = _of(name, ACCOUNTS[account])
        asked = ({"nonResourceAttributes": {"path": path, "verb": "get"}} for path in paths)
        return {
            path for path, question in zip(paths, asked, strict=True) if may(kube, who | question)
        }

    assert seen(account) == seen("penstock-test-nobody")
