"""lakeFS repositories: `lakefs://loans/main/data/loans.parquet`; by what the extra `data` has.

References are resolved by the server's API, files are read by its S3 gateway. Where the server is
and who asks it are lakectl's variables: LAKECTL_SERVER_ENDPOINT_URL,
LAKECTL_CREDENTIALS_ACCESS_KEY_ID and LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from penstock.data.sources.files import store_errors
from penstock.data.spec import SourceSpec
from penstock.data.versioned.fetched import fetched
from penstock.data.versioned.opening import OpenedVersion
from penstock.errors import InputError, ServiceError
from penstock.records.origin import DataReference
from penstock.redaction import keep, redact, redact_address

_ADDRESS = re.compile(r"lakefs://(?P<repository>[^/]+)/(?P<reference>[^/]+)/(?P<path>.+)")
_SECONDS = 20.0


@dataclass(frozen=True)
class _Server:
    """A lakeFS server, and who asks it."""

    endpoint: str
    key: str
    secret: str


@contextlib.contextmanager
def opened(source: SourceSpec, *, address: str, beside: Path) -> Iterator[OpenedVersion]:
    """Yield the files of a lakeFS repository at a commit; see `opening.opened_version`."""
    shown = redact_address(source.uri)
    written = _ADDRESS.fullmatch(address)
    if written is None or source.version:
        raise InputError(
            "source.version is set; the address of lakeFS has the reference itself"
            if source.version
            else "this names no path at a reference of a repository",
            where=shown,
            remedy="Write lakefs://REPOSITORY/REFERENCE/PATH, without source.version.",
        )
    server = _server(shown)
    repository, asked, path = written["repository"], written["reference"], written["path"]
    commit = _commit(server, repository, asked, shown)
    pinned = f"lakefs://{repository}/{commit}/{path}"
    # The address is resolved: what it refers to as a secret is not written down.
    reference = DataReference(
        kind="lakefs",
        locator=redact_address(f"lakefs://{repository}/{path}"),
        resolved=commit,
        asked=redact(asked),
    )
    below = f"{repository}/{commit}/"
    with fetched(
        _gateway(server),
        below + path,
        source=source,
        where=shown,
        beside=beside,
        below=below,
    ) as files:
        yield OpenedVersion(reference, source.model_copy(update={"uri": pinned}), files=files)


def _server(shown: str) -> _Server:
    names = (
        "LAKECTL_SERVER_ENDPOINT_URL",
        "LAKECTL_CREDENTIALS_ACCESS_KEY_ID",
        "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY",
    )
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"the environment does not say {missing[0]}",
            where=shown,
            remedy=f"Set {', '.join(missing)}, as for lakectl.",
        )
    endpoint, key, secret = (os.environ[name] for name in names)
    keep(secret)
    return _Server(re.sub(r"/api/v1/?$|/$", "", endpoint), key, secret)


def _commit(server: _Server, repository: str, reference: str, shown: str) -> str:
    """Return the commit that a branch, a tag or a commit is now."""
    import httpx

    place = f"{server.endpoint}/api/v1/repositories/{quote(repository)}/refs/{quote(reference)}"
    with store_errors(shown):
        answer = httpx.get(
            f"{place}/commits",
            params={"amount": "1", "limit": "true"},
            auth=(server.key, server.secret),
            timeout=_SECONDS,
        )
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise InputError(
            f"lakeFS has no repository {repository} with the reference {reference}",
            where=shown,
            remedy="It may have been moved or removed: name a branch, tag or commit that is there.",
        )
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise ServiceError(
            f"lakeFS refuses ({answer.status_code})",
            where=shown,
            remedy="Give lakectl's credentials of a user who may read the repository.",
        )
    commit = _first_id(answer.content) if answer.is_success else ""
    if not commit:
        raise ServiceError(
            f"lakeFS does not name the commit of {reference} ({answer.status_code})",
            where=shown,
            remedy="Check that LAKECTL_SERVER_ENDPOINT_URL is a lakeFS server, then run again.",
        )
    return commit


def _first_id(answer: bytes) -> str:
    """Return the id of the first commit in an answer; empty: it is none of lakeFS."""
    try:
        return str(json.loads(answer)["results"][0]["id"])
    except (ValueError, LookupError, TypeError):
        return ""


def _gateway(server: _Server) -> Any:
    import s3fs

    return s3fs.S3FileSystem(
        key=server.key,
        secret=server.secret,
        endpoint_url=server.endpoint,
        config_kwargs={
            "connect_timeout": _SECONDS,
            "read_timeout": 60.0,
            "retries": {"max_attempts": 2, "mode": "standard"},
            "s3": {"addressing_style": "path"},
        },
        skip_instance_cache=True,
    )
