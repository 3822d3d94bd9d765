"""What was asked of a cluster's API, and what a Role allows: both as verbs and resources."""

from __future__ import annotations

from pathlib import Path

import yaml

_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}


def used(calls: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return what was asked of a cluster's API, as verb and resource of a Role."""
    found = set()
    for method, path in calls:
        parts = path.partition("?")[0].strip("/").split("/")
        if "namespaces" not in parts or method not in _VERBS:
            continue  # API discovery, which every account may do.
        _, kind, *rest = parts[parts.index("namespaces") + 1 :]
        verb = "list" if method == "GET" and not rest else _VERBS[method]
        found.add((verb, "/".join([kind, *rest[1:]])))
    return found


def allowed(role: Path) -> set[tuple[str, str]]:
    """Return what the Role in a file allows."""
    (found,) = (one for one in yaml.safe_load_all(role.read_text()) if one["kind"] == "Role")
    return {
        (verb, resource)
        for rule in found["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
