"""Which kind of versioned source an address is of, and what every kind hands over when opened."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from penstock.common.secrets import resolve
from penstock.data.sources.addresses import versioned_folder
from penstock.data.sources.reader import FoundFile
from penstock.data.spec import SourceSpec
from penstock.data.versioned.table_reader import VersionedTable
from penstock.errors import InputError
from penstock.records.origin import DataReference, VersionedKind
from penstock.redaction import redact_address


@dataclass(frozen=True)
class OpenedVersion:
    """A version of a source, ready to be read: a table or files, one of the two.

    Attributes:
        reference: What was read.
        pinned: The source with the reference that it resolved to.
        table: Rows with types of their own.
        files: Its files.
    """

    reference: DataReference
    pinned: SourceSpec
    table: VersionedTable | None = None
    files: list[FoundFile] = field(default_factory=list)


def kind_of(uri: str) -> VersionedKind | None:
    """Return the kind of versioned source that an address is of; None: it is of none.

    Example:
        >>> kind_of("delta+s3://lake/loans"), kind_of("s3://lake/loans.parquet")
        ('delta', None)
    """
    scheme, mark, _ = uri.partition("://")
    kinds: tuple[VersionedKind, ...] = get_args(VersionedKind)
    named = scheme.partition("+")[0] if mark else ""
    return next((kind for kind in kinds if kind == named), None)


@contextlib.contextmanager
def opened_version(source: SourceSpec, *, beside: Path) -> Iterator[OpenedVersion]:
    """Resolve a source's reference and yield what it is at that version.

    Args:
        source: A source of a kind that keeps versions.
        beside: Copies of files are in a folder beside it for as long as the block lasts.

    Raises:
        InputError: If the source, the version or its data are not there, or the address is not
            written as it must be.
        IntegrityError: If a file is another than its version names, as far as the kind says it.
        MissingLibraryError: If the kind's library is not installed.
        ServiceError: If what holds it does not answer or refuses.
    """
    kind = kind_of(source.uri)
    here = versioned_folder(source.uri, folder=Path.cwd())
    source = source.model_copy(update={"uri": here})
    if source.query:
        raise InputError(
            f"a query is for databases, and this is a source of the kind {kind}",
            where=redact_address(source.uri),
            remedy="Remove source.query, and choose columns by source.columns.",
        )
    # By its name: only who has such a source imports the kind and its library.
    module = importlib.import_module(f"penstock.data.versioned.{kind}")
    address = resolve(source.uri, where="source.uri")
    with module.opened(source, address=address, beside=beside) as version:
        yield version


def require_unversioned(source: SourceSpec) -> None:
    """Raise InputError if a version is set of a source that keeps none."""
    if source.version:
        raise InputError(
            f"version {source.version!r} is set, and the source keeps no versions",
            where=redact_address(source.uri),
            remedy="Remove source.version, or give the address of a source that keeps versions: "
            "delta://, iceberg:// or dvc://.",
        )
