"""Strict schemas: Kubernetes' own, those of custom resources, and KServe's from its client.

Strict: a field that a schema does not know is an error. An API server would drop it in silence, or,
from kubectl, refuse it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing import Resource as Contents

from manifests_check.parts import Finding, Resource

Check = Callable[[Resource], Iterator[Finding]]


class Schemas:
    """Finds the schema of a resource.

    Args:
        kubernetes: Kubernetes' version, such as 1.36.1.
        folders: Where to look for CustomResourceDefinitions (YAML files, one document or more).
    """

    def __init__(self, *, kubernetes: str, folders: Sequence[Path] = ()) -> None:
        self._folder = _kubernetes(kubernetes)
        definitions = (self._folder / "_definitions.json").read_text(encoding="utf-8")
        self._registry: Registry[Any] = Contents.from_contents(json.loads(definitions)) @ Registry()
        self._known: dict[tuple[str, str], list[Check]] = {}
        self._custom = dict(_definitions(folders))

    def check(self, resource: Resource) -> list[Finding] | None:
        """Return what its schemas say of a resource; None where no schema is known."""
        group, kind = resource["apiVersion"], resource["kind"]
        checks: list[Check] = []
        if (group, kind) in self._custom:
            schema = strict(self._custom[group, kind], top=True)
            checks.append(_by_validator(Draft202012Validator(schema)))
        if group.startswith("serving.kserve.io/"):
            checks.append(_by_client)
        if "." not in group or re.search(r"[^.]*\.k8s\.io/|^(apps|batch|policy)/", group):
            checks += self._core(resource)
        if not checks:
            return None
        return [finding for check in checks for finding in check(resource)]

    def _core(self, resource: Resource) -> list[Check]:
        key = resource["apiVersion"], resource["kind"]
        if key not in self._known:
            self._known[key] = self._core_check(*key)
        return self._known[key]

    def _core_check(self, group: str, kind: str) -> list[Check]:
        # kubernetes_validate's own `validate` reads 2 MB of definitions for each resource.
        group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", group)
        path = self._folder / f"{kind.lower()}-{group}.json"
        if not path.exists():
            return []
        schema = json.loads(path.read_text(encoding="utf-8"))
        registry = Contents.from_contents(schema) @ self._registry
        return [_by_validator(Draft202012Validator(schema, registry=registry))]


def _kubernetes(version: str) -> Path:
    minor = ".".join(version.split(".")[:2])
    home = Path(str(resources.files("kubernetes_validate"))) / "kubernetes-json-schema"
    folder = home / f"v{minor}.0-local-strict"
    if not folder.is_dir():
        raise FileNotFoundError(f"kubernetes-validate has no schemas of Kubernetes {version}")
    return folder


def _definitions(folders: Sequence[Path]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            text = path.read_text(encoding="utf-8")
            for document in yaml.load_all(text, Loader=_LOADER):
                if not document or document.get("kind") != "CustomResourceDefinition":
                    continue
                spec = document["spec"]
                for version in spec["versions"]:
                    schema = version["schema"]["openAPIV3Schema"]
                    yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), schema


# libyaml where it is there: KServe's definitions are 2 MB.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _by_validator(validator: Draft202012Validator) -> Check:
    def check(resource: Resource) -> Iterator[Finding]:
        for error in validator.iter_errors(resource):
            yield Finding(resource, _field(error.absolute_path), error.message)

    return check


def _field(path: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "(the whole)"


def strict(schema: Any, *, top: bool = False) -> Any:
    """Return a JSON Schema of an OpenAPI v3 one of a CustomResourceDefinition, closed to surplus.

    Args:
        schema: As in `spec.versions[].schema.openAPIV3Schema`.
        top: Whether it is a whole resource's: its metadata is the API server's business.
    """
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    result = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if "properties" in result:
        result["properties"] = {k: strict(v) for k, v in result["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    # Not anyOf and its like: only the outermost schema lists all fields, those add conditions.
    for key in ("items", "additionalProperties"):
        if key in result:
            result[key] = strict(result[key])
    if schema.get("x-kubernetes-int-or-string"):
        result.pop("anyOf", None)
        result["type"] = ["integer", "string"]
    if schema.get("nullable") and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
    if top:
        result["properties"] = {
            **result["properties"],
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
        }
    return result


def _by_client(resource: Resource) -> Iterator[Finding]:
    """Compare with the classes of KServe's Python client, which are made from its API.

    They are of the very version in requirements.lock and need no download.
    """
    import kserve.models as models

    version = resource["apiVersion"].partition("/")[2].capitalize()
    kind = getattr(models, version + resource["kind"], None)
    if kind is None:
        yield Finding(resource, "kind", "KServe's client knows no such kind")
        return
    for field, what in _walk(resource, kind.__name__, path=""):
        yield Finding(resource, field, what)


def _walk(value: Any, kind: str, *, path: str) -> Iterator[tuple[str, str]]:
    if kind.startswith("list["):
        if not isinstance(value, list):
            yield path, f"expected a list, got {value!r}"
            return
        for index, item in enumerate(value):
            yield from _walk(item, kind[5:-1], path=f"{path}[{index}]")
    elif kind.startswith("dict("):
        inner = kind[5:-1].partition(", ")[2]
        for key, item in value.items():
            yield from _walk(item, inner, path=f"{path}.{key}")
    elif kind in _PLAIN:
        if type(value) is not _PLAIN[kind]:
            yield path, f"expected {_PLAIN[kind].__name__}, got {value!r}"
    else:
        yield from _walk_object(value, kind, path=path)


_PLAIN: dict[str, type] = {"str": str, "int": int, "bool": bool}


def _walk_object(value: Any, kind: str, *, path: str) -> Iterator[tuple[str, str]]:
    import kserve.models
    import kubernetes.client

    model = getattr(kserve.models, kind, None) or getattr(kubernetes.client, kind, None)
    types = getattr(model, "openapi_types", None)
    if model is None or types is None or not isinstance(value, Mapping):
        # Quantities, times, int-or-strings: what Kubernetes parses out of plain values.
        return
    kinds = {model.attribute_map[name]: types[name] for name in types}
    for key, item in value.items():
        where = f"{path}.{key}".lstrip(".")
        if key in kinds:
            yield from _walk(item, kinds[key], path=where)
        else:
            yield where, f"{kind} has no such field"
