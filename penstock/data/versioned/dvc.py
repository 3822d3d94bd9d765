"""DVC repositories: `dvc://loans//data/loans.csv`, `dvc+https://git.example.com/loans.git//data`.

What stands before `//` is the Git repository, what stands behind it is a path in it. Extra `dvc`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.data.sources.files import store_errors
from penstock.data.spec import SourceSpec
from penstock.data.versioned.fetched import fetched
from penstock.data.versioned.opening import OpenedVersion
from penstock.errors import InputError, IntegrityError, PenstockError, ServiceError
from penstock.records.origin import DataReference
from penstock.redaction import redact, redact_address

_NEWEST = "HEAD"

_COMMIT = re.compile("[0-9a-f]{40}")
_DIGESTS = ("md5", "md5-dos2unix")
"""Those by which DVC names content; of an import it may have a store's own name instead."""


@contextlib.contextmanager
def opened(source: SourceSpec, *, address: str, beside: Path) -> Iterator[OpenedVersion]:
    """Yield the files of a DVC repository at a Git commit; see `opening.opened_version`."""
    shown = redact_address(source.uri)
    repository, path = _parts(address, shown)
    with _errors(shown):
        commit = _system(repository, source.version or _NEWEST, shown).repo.get_rev()
        # By the commit: a branch that moves meanwhile is not followed.
        system = _system(repository, commit, shown)
    reference = DataReference(
        kind="dvc", locator=shown, resolved=commit, asked=source.version or _NEWEST
    )
    pinned = source.model_copy(update={"version": commit})
    with _files(_Checked(system), path, source=source, where=shown, beside=beside) as files:
        yield OpenedVersion(reference, pinned, files=files)


def _parts(address: str, shown: str) -> tuple[str, str]:
    """Return the repository and the path in it."""
    scheme, _, rest = address.partition("://")
    # The slash of an absolute path, `dvc:///srv/loans//data`, is no mark.
    root = "/" if rest.startswith("/") else ""
    place, mark, path = rest.removeprefix("/").partition("//")
    if not mark or not path:
        raise InputError(
            "this names no path in a repository",
            where=shown,
            remedy="Write dvc://REPOSITORY//PATH or dvc+https://HOST/REPOSITORY.git//PATH.",
        )
    transport = scheme.partition("+")[2]
    return (f"{transport}://{root}{place}" if transport else f"{root}{place}"), path


def _system(repository: str, revision: str, shown: str) -> Any:
    from dvc.api import DVCFileSystem

    # Not one that was opened before: it knows the revisions of then.
    system = DVCFileSystem(repository, rev=revision, skip_instance_cache=True)
    # DVC takes a branch that is called like a commit for that branch, Git for the commit.
    if _COMMIT.fullmatch(revision) and system.repo.get_rev() != revision:
        raise InputError(
            f"a branch or tag is called like the commit {revision}, and DVC reads that",
            where=f"source.version, {shown}",
            remedy="Rename it.",
        )
    return system


class _Checked:
    """DVC's file system, which copies only what has the digest that the commit names.

    DVC compares it for what it downloads, and not for what lies in a cache: that may have been
    written into.
    """

    def __init__(self, system: Any) -> None:
        self._system = system

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    def info(self, address: str) -> dict[str, Any]:
        named = self._named(address)
        found: dict[str, Any] = self._system.info(address)
        return found | ({"md5": named.value} if named else {})

    def _named(self, address: str) -> Any:
        """Return the digest that the commit names; None: Git has the file itself."""
        entry = self._system.info(address).get("dvc_info", {}).get("entry")
        named = entry.hash_info if entry else None
        return named if named and named.name in _DIGESTS else None

    def get_file(self, address: str, to: str) -> None:
        from dvc_data.hashfile.hash import file_md5

        self._system.get_file(address, to)
        named = self._named(address)
        if named and file_md5(to, name=named.name) != named.value:
            raise IntegrityError(
                f"the file has other bytes than its commit names, md5 {named.value}",
                where=address,
                remedy="Its cache or remote was written into: remove it there, and fetch or push "
                "it again from a machine that has it.",
            )


@contextlib.contextmanager
def _files(system: Any, path: str, **where: Any) -> Iterator[Any]:
    try:
        with fetched(system, path, **where) as files:
            yield files
    except InputError as error:
        if "No storage files" not in str(error.__cause__):
            raise
        raise InputError(
            "the repository names the file, and neither its cache nor a remote has it any more",
            where=error.where,
            remedy="A garbage collection (dvc gc) may have taken it: push it again from a machine "
            "that has it, or name another version.",
        ) from error


@contextlib.contextmanager
def _errors(where: str) -> Iterator[None]:
    """Turn what DVC raises into our errors."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.scm import CloneError, RevError, SCMError

    try:
        with store_errors(where):
            yield
    except PenstockError as error:
        cause = error.__cause__
        said = redact(" ".join(_reasons(cause)))[:300]
        if isinstance(cause, RevError):
            raise InputError(
                f"the repository has no such revision: {said}",
                where=f"source.version, {where}",
                remedy="It may have been moved or removed: name a branch, tag or commit of it.",
            ) from error
        if isinstance(cause, CloneError):
            raise ServiceError(
                f"the repository cannot be cloned: {said}",
                where=where,
                remedy="Check the address, the network and the credentials of Git.",
            ) from error
        if isinstance(cause, NotDvcRepoError | SCMError):
            raise InputError(
                f"this is no repository of Git and DVC: {said}",
                where=where,
                remedy="Name the folder or the address of the repository before //.",
            ) from error
        if isinstance(cause, DvcException):
            raise InputError(f"DVC refuses: {said}", where=where) from error
        raise


def _reasons(error: BaseException | None) -> Iterator[str]:
    """Yield what an error says, and what it was raised from."""
    while error is not None:
        yield str(error)
        error = error.__cause__
