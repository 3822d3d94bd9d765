"""A file of a dataset, read where it lies: on this machine, or in a store that fsspec knows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import IntegrityError

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@contextlib.contextmanager
def opened(
    place: str, name: str, *, size: int, coded: Sequence[str]
) -> Iterator[tuple[pq.ParquetFile, str]]:
    """Yield a Parquet file and what to call it in errors.

    Args:
        place: Its folder: a path, or an address.
        name: Its name.
        size: Its bytes, as the dataset's record has them.
        coded: Columns that are read as a dictionary and indices.

    Raises:
        IntegrityError: If it is not there, or has another size.
        ServiceError: If the store cannot be reached, or refuses.
    """
    from penstock.data.sources.addresses import is_local

    reader = _of_disk if is_local(place) else _of_store
    with reader(place, name, size=size, coded=coded) as found:
        yield found


@contextlib.contextmanager
def _of_disk(
    place: str, name: str, *, size: int, coded: Sequence[str]
) -> Iterator[tuple[pq.ParquetFile, str]]:
    path = Path(place, name)
    if not path.is_file():
        raise _missing(name, place)
    _check_size(path.stat().st_size, size, where=str(path))
    with parquet_file(path, coded=coded) as file:
        yield file, str(path)


@contextlib.contextmanager
def _of_store(
    place: str, name: str, *, size: int, coded: Sequence[str]
) -> Iterator[tuple[pq.ParquetFile, str]]:
    import pyarrow.parquet as pq

    from penstock.data.sources.files import open_store, store_errors
    from penstock.redaction import redact_address

    shown = redact_address(f"{place}/{name}")
    system, root = open_store(place)
    with contextlib.ExitStack() as stack:
        with store_errors(shown):
            try:
                # Arrow asks for the ranges that it needs, and no more is read ahead.
                opened_file = system.open(f"{root}/{name}", cache_type="none")
            except FileNotFoundError as error:
                raise _missing(name, redact_address(place)) from error
            stream: Any = stack.enter_context(opened_file)
            _check_size(stream.size, size, where=shown)
            try:
                file = pq.ParquetFile(
                    stream,
                    read_dictionary=list(coded),
                    pre_buffer=True,
                    page_checksum_verification=True,
                )
            except ValueError as error:
                raise damaged(error, where=shown) from error
            stack.enter_context(file)
        yield file, shown


def parquet_file(path: Path, *, coded: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a file of this machine.

    Args:
        path: The file.
        coded: Columns that are read as a dictionary and indices.

    Raises:
        IntegrityError: If it is no Parquet, as one whose end a power cut has left empty.
    """
    import pyarrow.parquet as pq

    try:
        # Arrow's own default holds all that was read of a file until it is closed.
        return pq.ParquetFile(
            path,
            read_dictionary=list(coded),
            pre_buffer=False,
            # A page in which bits have changed decodes like any other: to other values.
            page_checksum_verification=True,
        )
    except (OSError, ValueError) as error:  # Arrow's own are both.
        raise damaged(error, where=str(path)) from error


def damaged(error: Exception, *, where: str) -> IntegrityError:
    """Return what a file that cannot be read ends with."""
    return IntegrityError(
        f"the file cannot be read: {(str(error).splitlines() or ['no reason'])[0]:.200}",
        where=where,
        remedy="It was damaged after it was written: ingest the data again.",
    )


def _missing(name: str, where: str) -> IntegrityError:
    return IntegrityError(
        f"the data file {name!r} is missing",
        where=where,
        remedy="It must lie where it was written until the step has ended: ingest the data again.",
    )


def _check_size(found: int, listed: int, *, where: str) -> None:
    if found != listed:
        raise IntegrityError(
            f"the file has {found:,} bytes, its record says {listed:,}",
            where=where,
            remedy="It was changed after it was written: ingest the data again.",
        )
