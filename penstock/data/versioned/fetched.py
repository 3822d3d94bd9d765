"""Finds the files of a version; those that are taken are copied into a folder of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.common.files import folder_beside
from penstock.data.sources.files import listed, store_errors, stored_files
from penstock.data.sources.reader import FoundFile
from penstock.data.spec import SourceSpec
from penstock.errors import InputError


@contextlib.contextmanager
def fetched(
    system: Any, root: str, *, source: SourceSpec, where: str, beside: Path, below: str = ""
) -> Iterator[list[FoundFile]]:
    """Yield the files that a path, folder or glob names in a file system at one version.

    Args:
        system: The file system, as fsspec has it.
        root: The path in it.
        source: How they are read.
        where: The address, for people.
        beside: Those that are taken are copied into a folder beside it.
        below: The start of paths that is another in each version; empty: there is none.

    Raises:
        InputError: If nothing is there, or a file is gone.
        ServiceError: If what holds them does not answer or refuses.
    """
    with folder_beside(beside, kind="source") as folder:
        with store_errors(where):
            remote = listed(system, root)
        if not remote:
            raise InputError(
                "there is no such file at this version, and no data file below it",
                where=where,
                remedy="Correct the path, or name another version.",
            )
        found = [
            (address, Path(address).name, where if len(remote) == 1 else f"{where}: {address}")
            for address in remote
        ]
        yield stored_files(system, below or root, found, source=source, folder=folder)
