"""What a registry holds of one model, read without MLflow's library: for pages, never for a gate.

MLflow takes seconds to import, and a page is to be there at once. A store in a SQLite file is read
from its tables, by a connection that cannot write; a server by its REST API. Whoever decides
anything reads with `penstock.registry.versions`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock import tracking
from penstock.common import mlflow_access
from penstock.errors import InputError, ServiceError
from penstock.redaction import redact

if TYPE_CHECKING:
    import httpx

TIMEOUT = 2.0
"""Seconds that a store may take for one answer."""

_PAGE = 200
_MOST = 10_000
"""Versions that are read at most."""

_REMEDY = "What MLflow itself says of it: penstock audit."


@dataclass(frozen=True)
class GlancedVersion:
    """One version of a registered model.

    Attributes:
        version: Its number.
        tags: All its tags.
        run: The MLflow run it belongs to.
        created: When it was registered, by the store's clock.
    """

    version: int
    tags: Mapping[str, str]
    run: str
    created: datetime | None


@dataclass(frozen=True)
class GlancedModel:
    """A registered model.

    Attributes:
        tags: Its tags; the audit log is among them.
        aliases: Version by alias.
        versions: The newest first.
    """

    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    versions: tuple[GlancedVersion, ...]


def glance(name: str, *, tracking_uri: str) -> GlancedModel | None:
    """Return what a registry holds of a model; None: there is no model of that name.

    Args:
        name: The registered model.
        tracking_uri: The MLflow store: a SQLite file or a server.

    Raises:
        InputError: If it is a store of another kind, or none is named.
        ServiceError: If it cannot be read, or does not answer within some seconds.
    """
    uri = tracking.resolve_uri(tracking_uri)
    if uri.startswith("sqlite:///"):
        return _from_file(name, Path(uri.removeprefix("sqlite:///")).resolve())
    if uri.startswith(("http://", "https://")):
        return _from_server(name, uri)
    raise InputError(
        "pages are made from a registry in a SQLite file, or from MLflow's server",
        where=redact(uri),
        remedy=_REMEDY,
    )


def _from_file(name: str, path: Path) -> GlancedModel | None:
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=TIMEOUT)
        ) as store:
            # Without it each query would see a state of its own.
            store.execute("BEGIN")
            return _from_tables(name, store)
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise ServiceError(
            f"MLflow's store cannot be read: {error}", where=str(path), remedy=_REMEDY
        ) from error


def _from_tables(name: str, store: sqlite3.Connection) -> GlancedModel | None:
    found = store.execute("SELECT 1 FROM registered_models WHERE name = ?", (name,)).fetchall()
    if len(found) > 1:
        raise ValueError(f"several workspaces have a model {name!r}")
    if not found:
        return None
    tags: dict[int, dict[str, str]] = {}
    for version, key, value in store.execute(
        "SELECT version, key, value FROM model_version_tags WHERE name = ?", (name,)
    ):
        tags.setdefault(version, {})[key] = value or ""
    versions = store.execute(
        "SELECT version, run_id, creation_time FROM model_versions WHERE name = ? AND "
        "current_stage != 'Deleted_Internal' ORDER BY version DESC LIMIT ?",
        (name, _MOST),
    )
    return GlancedModel(
        tags=_pairs(store, "SELECT key, value FROM registered_model_tags WHERE name = ?", name),
        aliases={
            alias: int(version)
            for alias, version in _pairs(
                store, "SELECT alias, version FROM registered_model_aliases WHERE name = ?", name
            ).items()
        },
        versions=tuple(
            GlancedVersion(int(number), tags.get(number, {}), run or "", _time(created))
            for number, run, created in versions
        ),
    )


def _pairs(store: sqlite3.Connection, query: str, name: str) -> dict[str, str]:
    return {str(key): str(value or "") for key, value in store.execute(query, (name,))}


def _from_server(name: str, uri: str) -> GlancedModel | None:
    import httpx

    base = uri.rstrip("/") + "/api/2.0/mlflow/"
    try:
        with httpx.Client(
            base_url=base,
            timeout=TIMEOUT,
            auth=mlflow_access.signed,
        ) as client:
            return _from_answers(name, client)
    except httpx.HTTPStatusError as error:
        raise tracking.refusal(error, error.response, where=uri) from error
    except (httpx.HTTPError, httpx.InvalidURL, LookupError, ValueError, TypeError) as error:
        raise ServiceError(
            f"MLflow does not answer as it should: {tracking.reason(error)}",
            where=redact(uri),
            remedy="Check that the server is up, and that MLFLOW_TRACKING_* let you in.",
        ) from error


def _from_answers(name: str, client: httpx.Client) -> GlancedModel | None:
    answer = client.get("registered-models/get", params={"name": name})
    if answer.status_code == 404 and _is_no_model(answer):
        return None
    model = answer.raise_for_status().json()["registered_model"]
    versions: list[GlancedVersion] = []
    page = ""
    while len(versions) < _MOST:
        quoted = name.replace("'", "''")
        asked = {"filter": f"name = '{quoted}'", "max_results": str(_PAGE)}
        answer = client.get(
            "model-versions/search", params=asked | ({"page_token": page} if page else {})
        )
        found = answer.raise_for_status().json()
        versions += [_version(one) for one in found.get("model_versions") or ()]
        page = found.get("next_page_token") or ""
        if not page:
            break
    return GlancedModel(
        tags=_tags(model),
        aliases={one["alias"]: int(one["version"]) for one in model.get("aliases") or ()},
        versions=tuple(sorted(versions, key=lambda one: -one.version)),
    )


def _is_no_model(answer: httpx.Response) -> bool:
    """Return whether a 404 says that there is no such model.

    A workspace that is not there has the same code; a proxy, or a wrong path, says something else.
    """
    try:
        said = answer.json()
        code, message = str(said["error_code"]), str(said["message"])
    except (ValueError, LookupError, TypeError):
        return False
    return code == "RESOURCE_DOES_NOT_EXIST" and not message.startswith("Workspace ")


def _version(found: Mapping[str, Any]) -> GlancedVersion:
    created = found.get("creation_timestamp")
    return GlancedVersion(
        int(found["version"]), _tags(found), found.get("run_id") or "", _time(created)
    )


def _tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {one["key"]: one.get("value") or "" for one in found.get("tags") or ()}


def _time(milliseconds: str | float | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
