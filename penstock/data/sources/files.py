"""Where rows come from: files are found, remote ones copied beside the output, names cleaned."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from penstock.common.files import folder_beside
from penstock.common.secrets import resolve
from penstock.data.hashing.content import digest_of_bytes
from penstock.data.sources import _gcsfs_import
from penstock.data.sources.addresses import is_local, local_path
from penstock.data.sources.reader import Format, FoundFile, SourceFile
from penstock.data.sources.signatures import check_page, check_table, compression_of, is_json
from penstock.data.spec import SourceSpec
from penstock.data.table.disk import FULL
from penstock.errors import InputError, PenstockError, ServiceError
from penstock.records.dataset import FILE_NAME
from penstock.redaction import redact, redact_address

_T = TypeVar("_T")

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".data": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
_DATABASES = ("sqlite", "duckdb", "postgresql", "mysql", "mariadb", "oracle", "mssql")
_FIRST_CONTACT = 60.0
"""Seconds that a store may take until it has listed what is there."""

_START = 1 << 16
"""Bytes of a text from which its format is detected."""

_MARKS = ("ETag", "etag", "md5Hash", "content_md5", "md5")
"""By which stores name content, as fsspec's clients pass it on."""

_STALLED = 60.0
_CONNECT = 10.0


@contextlib.contextmanager
def found_files(source: SourceSpec, *, beside: Path) -> Iterator[list[FoundFile]]:
    """Yield the files that a source names, sorted by name.

    References to secrets in its address are resolved. Remote files are copied, when they are taken,
    into a folder beside `beside` that lives as long as the block, so that Parquet can be read at
    random and a second pass costs no second download.

    Raises:
        InputError: If nothing is there, a reference leads nowhere, or it is not known how to read
            it.
        ServiceError: If a store cannot be reached, or refuses.
    """
    source = source.model_copy(update={"uri": resolve(source.uri, where="source.uri")})
    if is_local(source.uri):
        yield [_local(path, source) for path in _find(Path(local_path(source.uri)))]
        return
    with folder_beside(beside, kind="source") as folder:
        yield _remote(source, folder)


def _local(path: Path, source: SourceSpec) -> FoundFile:
    return FoundFile(
        str(path.absolute()),
        mark=partial(digest_of_bytes, path),
        take=partial(source_file, source, str(path), path),
    )


def _find(path: Path) -> list[Path]:
    """Return the file, the data files below a folder, or what a glob matches."""
    if path.is_file():
        return [path]
    if path.is_dir():
        below = [p for p in sorted(path.rglob("*")) if p.is_file() and not _is_hidden(p, path)]
        # What other tools write into a folder may have no suffix at all.
        found = [p for p in below if _is_data(p, path)] or [p for p in below if not p.suffix]
        if not found:
            raise InputError(
                "the folder holds no data file",
                where=str(path),
                remedy=f"Files ending in {', '.join(_FORMATS)} are read, compressed or not; name "
                "others by a glob and set format.",
            )
        return found
    if has_magic(str(path)):
        # Path.glob takes no absolute pattern.
        names = sorted(glob(str(path), recursive=True))  # noqa: PTH207
        matched = [Path(name) for name in names if Path(name).is_file()]
        if matched:
            return matched
        raise InputError("no file matches", where=str(path), remedy="Correct the pattern.")
    raise InputError(
        "there is no such file or folder",
        where=str(path),
        remedy=f"Correct the path; relative ones start at {Path.cwd()}.",
    )


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.relative_to(root).parts)


def _is_data(path: Path, root: Path) -> bool:
    return (
        not _is_hidden(path, root)
        and path.name != FILE_NAME
        and _suffixes(path.name)[0] in _FORMATS
    )


def _suffixes(name: str) -> tuple[str, str]:
    """Return the suffix of the format, and that of the compression, in lower case."""
    path = PurePosixPath(name.lower())
    if path.suffix in COMPRESSIONS:
        return PurePosixPath(path.stem).suffix, path.suffix
    return path.suffix, ""


def source_file(source: SourceSpec, name: str, path: Path) -> SourceFile:
    """Return a file on this machine in the format that its content or its name shows.

    Raises:
        InputError: If it holds no table, is empty, or cannot be read.
    """
    # A fetched file keeps its own name, so the path has the suffixes of both kinds.
    suffix, compression = _suffixes(path.name)
    with _readable(path, name) as stream:
        start = stream.read(8)
    compression = compression_of(start) or compression
    check_table(start, where=name)
    known: Format = "parquet" if start[:4] == b"PAR1" else _FORMATS.get(suffix, "csv")
    kind: Format = known if source.format == "auto" else source.format
    if not path.stat().st_size:
        raise InputError("the file is empty", where=name, remedy="Name a file with rows.")
    file = SourceFile(name=name, path=path, format=kind, compression=compression)
    return file if kind == "parquet" else _looked_into(file, source, named=suffix in _FORMATS)


def _looked_into(file: SourceFile, source: SourceSpec, *, named: bool) -> SourceFile:
    """Return a text file in the format that its beginning has, whatever its name is."""
    from penstock.data.sources.text import open_bytes, read

    with contextlib.closing(open_bytes(file)) as stream:
        start = read(stream, _START, where=file.name)
    check_page(start, where=file.name)
    if source.format == "auto" and file.format == "csv" and is_json(start, named=named):
        return replace(file, format="jsonl")
    return file


@contextlib.contextmanager
def _readable(path: Path, name: str) -> Iterator[Any]:
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise InputError(
            f"the file cannot be read: {error.strerror}",
            where=name,
            remedy="Check its permissions.",
        ) from error


def checked(found: list[SourceFile], source: SourceSpec) -> list[SourceFile]:
    """Return the files, which must be of one format.

    Raises:
        InputError: If they are of several.
    """
    kinds = sorted({file.format for file in found})
    if len(kinds) > 1:
        raise InputError(
            f"files of several formats: {', '.join(kinds)}",
            where=redact_address(source.uri),
            remedy="Name the files of one format by a glob, for example data/*.csv.",
        )
    return found


def _remote(source: SourceSpec, folder: Path) -> list[FoundFile]:
    """Return what a remote address names, to be copied into `folder`."""
    scheme = source.uri.split("://", 1)[0]
    shown = redact_address(source.uri)
    system, root = open_store(source.uri)
    with store_errors(shown):
        web = scheme in ("http", "https")
        remote = [root] if web else _bounded(lambda: listed(system, root), shown)
    if not remote:
        raise InputError(
            "there is no such file, and no data file below it",
            where=shown,
            remedy="Correct the address; a pattern with * may name several files.",
        )
    found = []
    for address in remote:
        name = Path(urlsplit(address).path if web else address).name or "download"
        label = shown if len(remote) == 1 else redact_address(f"{scheme}://{address}")
        found.append((address, name, label))
    return stored_files(system, root, found, source=source, folder=folder)


def stored_files(
    system: Any,
    root: str,
    found: Sequence[tuple[str, str, str]],
    *,
    source: SourceSpec,
    folder: Path,
) -> list[FoundFile]:
    """Return files of a store, each of which is copied when it is taken.

    Args:
        system: The store, as fsspec has it.
        root: The start of their paths that is not part of their keys.
        found: Of each file its path there, its name, and what to call it to people.
        source: How they are read.
        folder: Where to; each gets a folder of its own in it.
    """

    def take(address: str, path: Path, label: str) -> SourceFile:
        """Raise InputError if it is gone or holds no table, ServiceError if the store refuses."""
        path.parent.mkdir()
        with store_errors(label):
            system.get_file(address, str(path))
        return source_file(source, label, path)

    def mark(address: str, label: str) -> str:
        with store_errors(label):
            return _mark(system.info(address))

    return [
        FoundFile(
            address.removeprefix(root) or name,
            mark=partial(mark, address, label),
            take=partial(take, address, folder / f"{number:05d}" / name, label),
        )
        for number, (address, name, label) in enumerate(found)
    ]


def _mark(info: dict[str, Any]) -> str:
    """Return what a store says of a file's content; its size or time alone say too little."""
    named = next((str(info[name]) for name in _MARKS if info.get(name)), "")
    return f"{info.get('size')} bytes, {named}" if named else ""


def open_store(address: str) -> tuple[Any, str]:
    """Return the file system of an address, as fsspec has it, and the path in it.

    Raises:
        InputError: If the address is of no known store, or needs a package that is not installed.
        ServiceError: If the store refuses.
    """
    import fsspec

    scheme = address.split("://", 1)[0]
    shown = redact_address(address)
    _check_scheme(scheme, shown)
    with store_errors(shown):
        if scheme in ("gs", "gcs"):
            _gcsfs_import.load()
        system, root = fsspec.core.url_to_fs(address, **_options(scheme))
    return system, root


def _check_scheme(scheme: str, where: str) -> None:
    """Refuse an address that is of no known store, and a database without a query."""
    from fsspec.registry import available_protocols

    if scheme.partition("+")[0] in _DATABASES:
        raise InputError(
            "a database needs a query",
            where=where,
            remedy="Set query to the SQL whose result is the table, for example SELECT * FROM t.",
        )
    if scheme not in available_protocols():
        raise InputError(
            f"addresses of the kind {scheme}:// are not known",
            where=where,
            remedy="Known are, among others, file, http, https, s3, gs and abfs.",
        )


def listed(system: Any, root: str) -> list[str]:
    """Return the files that a path, folder or glob in a store names, sorted."""
    if has_magic(root):
        return sorted(p for p in system.glob(root) if system.isfile(p))
    if system.isfile(root):
        return [root]
    base = root.rstrip("/") + "/"
    below = sorted(system.find(root))
    return [p for p in below if _is_data(Path(p.removeprefix(base)), Path())]


def _options(scheme: str) -> dict[str, Any]:
    """Return the settings that make a store fail in bounded time where it does not answer."""
    if scheme in ("http", "https"):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_STALLED)
        return {"client_kwargs": {"timeout": limits, "trust_env": True}}
    if scheme in ("s3", "s3a"):
        retries = {"max_attempts": 2, "mode": "standard"}
        limit = {"connect_timeout": _CONNECT, "read_timeout": _STALLED, "retries": retries}
        return {"config_kwargs": limit, "skip_instance_cache": True}
    if scheme in ("abfs", "abfss", "az"):
        return {"connection_timeout": int(_CONNECT), "read_timeout": int(_STALLED)}
    return {}


def _bounded(call: Callable[[], _T], where: str) -> _T:
    """Return what `call` returns, or give up on it: some clients retry for many minutes."""
    results: list[_T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_FIRST_CONTACT)
    if errors:
        raise errors[0]
    if not results:
        raise ServiceError(
            f"the store did not answer within {_FIRST_CONTACT:.0f} seconds",
            where=where,
            remedy="Check the address, the network and the credentials, then run again.",
        )
    return results[0]


@contextlib.contextmanager
def store_errors(where: str) -> Iterator[None]:
    """Turn what the many clients raise into one kind of error."""
    try:
        yield
    except PenstockError:
        raise
    except FileNotFoundError as error:
        raise InputError(
            "there is no such file", where=where, remedy="Correct the address."
        ) from error
    except ImportError as error:
        raise InputError(
            f"this kind of address needs a package that is not installed: {error}",
            where=where,
            remedy="Those of s3://, gs://, abfs:// and http:// come with: "
            "pip install 'penstock[laptop]'",
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise  # It is the disk here that is full; `disk_errors` reports it.
        raise _unreachable(error, where) from error


def _unreachable(error: Exception, where: str) -> ServiceError:
    reason = next(iter(redact(str(error)).splitlines()), "") or type(error).__name__
    secret = "credentials" in reason.lower() or isinstance(error, PermissionError)
    return ServiceError(
        f"the store cannot be read: {reason:.300}",
        where=where,
        remedy="Set the credentials of the store in the environment, then run again."
        if secret
        else "Check that the address is right and the store is running, then run again.",
    )
