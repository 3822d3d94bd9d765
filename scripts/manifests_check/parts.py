"""The resources of one overlay, as the policies look at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Resource = Mapping[str, Any]

_KSERVE = "serving.kserve.io/"
RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        file: The overlay or file.
        resource: Kind, namespace and name.
        field: Path of the field in the resource.
        what: What is wrong with it, and what to do.
    """

    file: str
    resource: str
    field: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.resource}: {self.field}: {self.what}"


@dataclass(frozen=True)
class Finding:
    """A problem before its file is known."""

    resource: Resource
    field: str
    what: str


@dataclass(frozen=True)
class Pod:
    """A pod that a resource will make.

    Attributes:
        owner: The resource.
        path: Path of its spec in the resource.
        spec: Its spec.
        labels: Its labels.
        runtime: KServe makes it; account and pod-level settings are the InferenceService's.
    """

    owner: Resource
    path: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    runtime: bool

    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield each container's path and the container, the initial ones first."""
        for kind in ("initContainers", "containers"):
            for index, container in enumerate(self.spec.get(kind, ())):
                yield f"{self.path}.{kind}[{index}]", container


def title(resource: Resource) -> str:
    """Return kind, namespace and name."""
    metadata = resource.get("metadata", {})
    place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"{resource.get('kind')} {place}{metadata.get('name')}"


def pods(resources: Sequence[Resource]) -> Iterator[Pod]:
    """Yield the pods that the resources make."""
    for resource in resources:
        kind, spec = resource.get("kind"), resource.get("spec", {})
        if kind == "Pod":
            yield Pod(resource, "spec", spec, resource["metadata"].get("labels", {}), False)
        elif kind in RUNTIMES:
            # KServe labels the pods of an InferenceService with its name.
            labels = {**spec.get("labels", {}), f"{_KSERVE}inferenceservice": "any"}
            yield Pod(resource, "spec", spec, labels, True)
        elif kind == "DaskCluster":
            yield from _dask_pods(resource)
        elif kind in _TEMPLATED or kind == "CronJob":
            path = "spec.template"
            if kind == "CronJob":
                path, spec = "spec.jobTemplate.spec.template", spec["jobTemplate"]["spec"]
            template = spec["template"]
            labels = template.get("metadata", {}).get("labels", {})
            yield Pod(resource, f"{path}.spec", template["spec"], labels, False)


def _dask_pods(cluster: Resource) -> Iterator[Pod]:
    """Yield the pods that Dask's operator makes of a cluster, with the labels it gives them."""
    metadata = cluster["metadata"]
    for part in ("scheduler", "worker"):
        labels = {
            **metadata.get("labels", {}),
            "dask.org/cluster-name": metadata["name"],
            "dask.org/component": part,
        }
        yield Pod(cluster, f"spec.{part}.spec", cluster["spec"][part]["spec"], labels, False)


def of(resources: Sequence[Resource], *kinds: str) -> Iterator[Resource]:
    """Yield the resources of some kinds."""
    return (resource for resource in resources if resource.get("kind") in kinds)


def namespace(resource: Resource) -> str | None:
    """Return the namespace, None for what belongs to the cluster."""
    place: str | None = resource["metadata"].get("namespace")
    return place


def find(resources: Sequence[Resource], kind: str, name: str, place: str | None) -> bool:
    """Tell whether a resource is among them; `place` is its namespace."""
    return any(r["metadata"]["name"] == name and namespace(r) == place for r in of(resources, kind))


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector matches labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    tests: dict[str, Callable[[str, list[str]], bool]] = {
        "Exists": lambda key, _: key in labels,
        "DoesNotExist": lambda key, _: key not in labels,
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
    }
    return all(
        tests[rule["operator"]](rule["key"], rule.get("values", []))
        for rule in selector.get("matchExpressions", ())
    )
