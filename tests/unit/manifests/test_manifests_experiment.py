"""What an experiment's controller writes, held against the manifests that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import experiment_objects
from manifests_check.__main__ import check, read_versions
from manifests_check.schemas import Schemas

MANIFESTS = Path(__file__).parents[3] / "manifests"


def deployment_of(optional: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (
        one
        for one in optional
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "shop-experiment")
    )
    return found


def problems(resources: list[dict[str, Any]]) -> list[str]:
    schemas = Schemas(kubernetes=read_versions()["KUBERNETES_VERSION"])
    found, _ = check("experiments", resources, schemas=schemas)
    return [str(problem) for problem in found]


def test_the_example_is_what_is_made() -> None:
    assert experiment_objects.main("--check") == 0


def test_it_keeps_every_policy_and_schema(optional: list[dict[str, Any]]) -> None:
    """Restricted pods, an account without a token, a budget, networks that are closed."""
    assert problems(optional) == []
    # Each could fail.
    made = deployment_of(optional)
    made["spec"]["template"]["spec"]["containers"][0].pop("securityContext")
    assert any("securityContext" in problem for problem in problems(optional))
    without = [one for one in optional if one["metadata"]["name"] != "penstock-experiment"]
    found = problems(without)
    assert any("PodDisruptionBudget" in problem or "budget" in problem for problem in found), found


def test_the_openings_and_the_budget_are_of_its_pods(optional: list[dict[str, Any]]) -> None:
    template = deployment_of(optional)["spec"]["template"]
    labels = template["metadata"]["labels"]
    selected = {
        one["metadata"]["name"]: one["spec"].get("podSelector", one["spec"].get("selector"))
        for one in optional
        if "experiment" in one["metadata"]["name"]
        and one["kind"] in ("NetworkPolicy", "PodDisruptionBudget")
    }
    mine = {
        name
        for name, chosen in selected.items()
        if chosen.get("matchLabels") and chosen["matchLabels"].items() <= labels.items()
    }
    assert mine == {
        "gateway-to-experiment",
        "experiment-to-models",
        "experiment-to-captures-store",
        "prometheus-to-experiment",
        "penstock-experiment",
    }
    (account,) = (
        one
        for one in optional
        if (one["kind"], one["metadata"]["name"])
        == ("ServiceAccount", template["spec"]["serviceAccountName"])
    )
    assert account["automountServiceAccountToken"] is False
    assert not [
        binding
        for binding in optional
        if binding["kind"] == "RoleBinding"
        and any(one["name"] == account["metadata"]["name"] for one in binding["subjects"])
    ]


def test_who_deploys_may_make_it_only_with_the_component(optional: list[dict[str, Any]]) -> None:
    (role,) = (
        one
        for one in optional
        if (one["kind"], one["metadata"]["name"]) == ("Role", "penstock-experimenter")
    )
    verbs = ["get", "create", "update", "delete"]
    assert role["rules"] == [
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": verbs},
        {"apiGroups": [""], "resources": ["services"], "verbs": verbs},
    ]
