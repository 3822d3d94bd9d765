"""Where captures lie: a folder of this machine, or an address in an object store."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import inspect
import os
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from penstock.data.sources.addresses import is_local, local_path
from penstock.data.sources.files import open_store, store_errors
from penstock.redaction import redact_address

DEPTH = 4
"""Folders below a source in which captures are looked for: service, version, pod."""


_UNFINISHED = re.compile(r"\.(predictions|feedback|unmatched|events|ended)-.*\.\d+")
"""What `LocalPlace.write` names a file until it is whole."""

UNFINISHED_SECONDS = 3600.0
"""Age at which what looks half done is not on its way any more: nothing more comes of it."""


class Place(Protocol):
    """A tree of folders with captures in them."""

    def folders(self) -> dict[str, list[str]]:
        """Return the names of the files in each folder, by its path below the root (`.`: it)."""
        ...

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the names of the files in one folder, sorted; none where there is no folder.

        Args:
            folder: The folder.
            prefix: Only those that begin so.
        """
        ...

    def read(self, folder: str, name: str) -> bytes:
        """Return a file.

        Raises:
            FileNotFoundError: If it is gone.
        """
        ...

    def write(self, folder: str, name: str, data: bytes) -> None:
        """Write a file whole, or not at all."""
        ...

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; it may be gone."""
        ...

    def written(self, folder: str, name: str) -> float | None:
        """Return when a file was written, in seconds since 1970; None: it is gone."""
        ...


@dataclass(frozen=True)
class LocalPlace:
    """A folder of this machine."""

    root: Path

    def folders(self) -> dict[str, list[str]]:
        """Return the names of the files in each folder; nothing where there is no folder."""
        found: dict[str, list[str]] = {}
        for path, below, names in os.walk(self.root):
            relative = Path(path).relative_to(self.root)
            if len(relative.parts) >= DEPTH:
                below.clear()
            found[relative.as_posix()] = sorted(names)
        return found

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the names of the files in one folder."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.root / folder) as found:
            names = (entry.name for entry in found if entry.is_file())
            return sorted(name for name in names if name.startswith(prefix))
        return []

    def path(self, folder: str, name: str) -> Path:
        """Return the path of a file."""
        return self.root / folder / name

    def read(self, folder: str, name: str) -> bytes:
        """Return a file."""
        return self.path(folder, name).read_bytes()

    def write(self, folder: str, name: str, data: bytes) -> None:
        """Write a file beside, then rename it."""
        path = self.path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not the process's id: on a shared disk two pods may have the same.
        beside = path.parent / f".{name}.{uuid.uuid4().int}"
        try:
            with beside.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; it may be gone."""
        self.path(folder, name).unlink(missing_ok=True)

    def written(self, folder: str, name: str) -> float | None:
        """Return when a file was written; None: it is gone."""
        with contextlib.suppress(FileNotFoundError):
            return self.path(folder, name).stat().st_mtime
        return None


@dataclass(frozen=True)
class RemotePlace:
    """An address in a store that fsspec knows."""

    system: Any
    root: str
    shown: str

    def folders(self) -> dict[str, list[str]]:
        """Return the names of the files in each folder."""
        found: dict[str, list[str]] = {}
        base = self.root.rstrip("/") + "/"
        with store_errors(self.shown):
            self.system.invalidate_cache()
            try:
                paths = self.system.find(self.root)
            except FileNotFoundError:
                paths = []
        for path in sorted(paths):
            folder, _, name = path.removeprefix(base).rpartition("/")
            found.setdefault(folder or ".", []).append(name)
        return found

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the names of the files in one folder."""
        address = self._address(folder, "").rstrip("/")
        with store_errors(self.shown):
            # What others wrote since the last look is there too.
            self.system.invalidate_cache(address)
            try:
                paths = self._listed(address, prefix)
            except FileNotFoundError:
                return []
        names = (path.rpartition("/")[2] for path in paths if path.rpartition("/")[0] == address)
        return sorted(name for name in names if name.startswith(prefix))

    def _listed(self, address: str, prefix: str) -> list[str]:
        # A folder may hold the segments of months; S3's and Google's stores list by the beginning.
        if prefix and "prefix" in inspect.signature(self.system.find).parameters:
            return list(self.system.find(address, prefix=prefix))
        found = self.system.ls(address, detail=True)
        return [one["name"] for one in found if one["type"] == "file"]

    def read(self, folder: str, name: str) -> bytes:
        """Return a file."""
        with self._errors():
            return bytes(self.system.cat_file(self._address(folder, name)))

    def write(self, folder: str, name: str, data: bytes) -> None:
        """Write a file: a store shows it once it is whole."""
        with self._errors():
            self.system.pipe_file(self._address(folder, name), data)

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; it may be gone."""
        with self._errors(), contextlib.suppress(FileNotFoundError):
            self.system.rm_file(self._address(folder, name))

    def written(self, folder: str, name: str) -> float | None:
        """Return when a file was written, by the store's clock; None: it is gone."""
        with self._errors(), contextlib.suppress(FileNotFoundError):
            # What others wrote or removed since the last listing counts too.
            self.system.invalidate_cache(self._address(folder, "").rstrip("/"))
            written: datetime = self.system.modified(self._address(folder, name))
            return written.timestamp()
        return None

    def _address(self, folder: str, name: str) -> str:
        parts = [self.root.rstrip("/"), *([] if folder == "." else [folder]), name]
        return "/".join(parts)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        missing: FileNotFoundError | None = None
        with store_errors(self.shown):
            try:
                yield
            except FileNotFoundError as error:
                missing = error
        if missing is not None:
            raise missing


def remove_unfinished(place: Place) -> None:
    """Remove what writes that were killed more than an hour ago left half done: rows, perhaps.

    A store shows nothing that is not whole.
    """
    if not isinstance(place, LocalPlace):
        return
    for folder, names in place.folders().items():
        for path in [place.path(folder, name) for name in names if _UNFINISHED.fullmatch(name)]:
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - UNFINISHED_SECONDS:
                    path.unlink()


def place_at(source: str | Path) -> LocalPlace | RemotePlace:
    """Return the place at a path or address.

    Raises:
        InputError: If the address is of no known store, or needs a package that is not installed.
        ServiceError: If the store cannot be reached.
    """
    if isinstance(source, Path) or is_local(source):
        return LocalPlace(Path(local_path(str(source))))
    system, root = open_store(source)
    return RemotePlace(system, root, redact_address(source))


def packed(data: bytes) -> bytes:
    """Return lines compressed; the same lines come to the same bytes."""
    return gzip.compress(data, compresslevel=1, mtime=0)


def digest_of(data: bytes) -> str:
    """Return `sha256:<hex>` of a file's bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
