"""The recipes for Argo CD and Flux let Git say all but what a rollout owns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

SHARED = {("", "configmaps")}
"""What both write: a rollout's have other names, and neither tool touches what it did not apply."""

Kind = tuple[str, str]


def plural(kind: str) -> str:
    word = kind.lower()
    return word[:-1] + "ies" if word.endswith("cy") else f"{word}s"


def kinds(objects: list[dict[str, Any]]) -> set[Kind]:
    """Group and resource of each object."""
    return {(one["apiVersion"].rpartition("/")[0], plural(one["kind"])) for one in objects}


def rules(objects: list[dict[str, Any]], role: str) -> Iterator[tuple[Kind, set[str]]]:
    (found,) = [
        one
        for one in objects
        if one["metadata"]["name"] == role
        and one["kind"] in ("Role", "ClusterRole")
        and one["metadata"].get("namespace") in ("penstock", None)
    ]
    for rule in found["rules"]:
        for resource in rule["resources"]:
            yield (rule["apiGroups"][0], resource), set(rule["verbs"])


@pytest.fixture
def owned(with_all) -> set[Kind]:
    """What a rollout makes: what its account may make, with every optional part."""
    made = {kind for kind, verbs in rules(with_all, "penstock-deployer") if "create" in verbs}
    assert {
        ("serving.kserve.io", "inferenceservices"),
        ("gateway.networking.k8s.io", "httproutes"),
    } <= made
    return made - SHARED


def test_the_overlay_in_git_holds_nothing_that_a_rollout_owns(build, owned) -> None:
    assert not kinds(build("production")) & owned


def test_argo_cd_refuses_what_a_rollout_owns_and_takes_the_rest(built, build, owned) -> None:
    objects = {one["kind"]: one for one in built("gitops/argocd")}
    project, application = objects["AppProject"], objects["Application"]
    assert application["spec"]["project"] == project["metadata"]["name"]
    refused = {
        (one["group"], plural(one["kind"])) for one in project["spec"]["namespaceResourceBlacklist"]
    }
    assert refused >= owned
    overlay = build("production")
    assert not kinds(overlay) & refused
    places = {one["metadata"].get("namespace") for one in overlay} - {None}
    assert places <= {one["namespace"] for one in project["spec"]["destinations"]}
    cluster_wide = kinds([one for one in overlay if "namespace" not in one["metadata"]])
    allowed = {
        (one["group"], plural(one["kind"])) for one in project["spec"]["clusterResourceWhitelist"]
    }
    assert cluster_wide == allowed


def test_flux_may_write_the_overlay_and_nothing_that_a_rollout_owns(built, build, owned) -> None:
    objects = built("gitops/flux")
    (sync,) = [one for one in objects if one["apiVersion"].startswith("kustomize.toolkit")]
    rights = dict(rules(objects, sync["spec"]["serviceAccountName"]))
    assert not set(rights) & owned
    for kind in kinds(build("production")):
        assert {"get", "create", "patch", "delete"} <= rights[kind], kind
    (source,) = [one for one in objects if one["kind"] == "GitRepository"]
    assert sync["spec"]["sourceRef"]["name"] == source["metadata"]["name"]


def test_the_policy_of_neither_lists_a_wildcard(built) -> None:
    assert "*" not in str([built("gitops/argocd"), built("gitops/flux")])
