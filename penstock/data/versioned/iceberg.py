"""Iceberg tables: `iceberg://catalog/namespace.table`; extra `iceberg`.

Where the catalog is, and who may read it, is pyiceberg's own configuration: `.pyiceberg.yaml`, or
environment variables like PYICEBERG_CATALOG__LAKE__URI.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.data.sources.files import store_errors
from penstock.data.spec import SourceSpec
from penstock.data.versioned.opening import OpenedVersion
from penstock.data.versioned.table_reader import reading
from penstock.errors import InputError, ServiceError
from penstock.records.origin import DataReference
from penstock.redaction import redact, redact_address

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

_ADDRESS = re.compile(r"iceberg://(?P<catalog>[^/]+)/(?P<table>[^/]+)")

_GONE = (
    "Removing orphan files or expired snapshots deletes files: name a newer snapshot, or restore "
    "the file from a backup."
)


@contextlib.contextmanager
def opened(source: SourceSpec, *, address: str, beside: Path) -> Iterator[OpenedVersion]:  # noqa: ARG001
    """Yield an Iceberg table at the snapshot that is set; see `opening.opened_version`."""
    shown = redact_address(source.uri)
    table = _table(address, shown)
    snapshot = _snapshot(table, source.version, shown)
    resolved = str(snapshot.snapshot_id)
    reference = DataReference(
        kind="iceberg",
        locator=shown,
        resolved=resolved,
        asked=source.version,
        table=str(table.metadata.table_uuid),
    )
    pinned = source.model_copy(update={"version": resolved})
    yield OpenedVersion(reference, pinned, table=IcebergSnapshot(table, snapshot, where=shown))


class IcebergSnapshot:
    """An Iceberg table at one snapshot.

    Args:
        table: The table.
        snapshot: The snapshot.
        where: Its address.
    """

    def __init__(self, table: Table, snapshot: Snapshot, *, where: str) -> None:
        self._table = table
        self._snapshot = snapshot.snapshot_id
        self.where = where
        self.title = f"Iceberg snapshot {self._snapshot}"

    def schema(self) -> pa.Schema:
        """Return its columns, as they were at this snapshot."""
        from pyiceberg.io.pyarrow import schema_to_pyarrow

        return schema_to_pyarrow(self._scan().projection())

    def files(self) -> dict[str, str]:
        """Return its data files; the deletes of their rows are in files of their own."""
        return {str(task.file.file_path): _mark(task) for task in self._tasks(("*",))}

    def batches(
        self, names: Sequence[str], *, without: Collection[str]
    ) -> Iterator[pa.RecordBatch]:
        """Yield some columns of its rows, file by file in the order of their names.

        The library holds the rows of one data file at a time.

        Raises:
            InputError: If a file of this snapshot is gone.
        """
        from pyiceberg.io.pyarrow import ArrowScan

        scan = self._scan(tuple(names))
        rows = ArrowScan(
            scan.table_metadata, scan.io, scan.projection(), scan.row_filter, scan.case_sensitive
        )
        for task in self._tasks(tuple(names)):
            if str(task.file.file_path) not in without:
                with self._reading():
                    yield from rows.to_record_batches([task])

    def _scan(self, names: tuple[str, ...] = ("*",)) -> Any:
        return self._table.scan(selected_fields=names, snapshot_id=self._snapshot)

    def _tasks(self, names: tuple[str, ...]) -> list[Any]:
        """Return what reads each data file, sorted by their names."""
        with self._reading():
            return sorted(self._scan(names).plan_files(), key=lambda task: str(task.file.file_path))

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        return reading(self.where, self.title, errors=store_errors, remedy=_GONE)


def _mark(task: Any) -> str:
    deletes = sorted(str(one.file_path) for one in task.delete_files)
    return "; ".join((f"{task.file.file_size_in_bytes} bytes", *deletes))


def _table(address: str, shown: str) -> Table:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import ForbiddenError, NoSuchTableError, UnauthorizedError

    written = _ADDRESS.fullmatch(address)
    if written is None:
        raise InputError(
            "this names no Iceberg table",
            where=shown,
            remedy="Write iceberg://CATALOG/NAMESPACE.TABLE.",
        )
    catalog = written["catalog"]
    with store_errors(shown):
        try:
            return load_catalog(catalog).load_table(written["table"])
        except NoSuchTableError as error:
            raise InputError(
                f"the catalog {catalog} has no table {written['table']}",
                where=shown,
                remedy="Correct the name: NAMESPACE.TABLE.",
            ) from error
        except ValueError as error:
            # What is wrong with a catalog's configuration, before it is asked anything.
            raise InputError(
                f"the catalog {catalog} cannot be used: {redact(str(error)):.300}",
                where=shown,
                remedy="Describe it in .pyiceberg.yaml, or by environment variables like "
                f"PYICEBERG_CATALOG__{catalog.upper()}__URI.",
            ) from error
        except (ForbiddenError, UnauthorizedError) as error:
            raise ServiceError(
                f"the catalog {catalog} refuses: {redact(str(error)):.300}",
                where=shown,
                remedy="Give its credentials in pyiceberg's configuration, and the right to read "
                "the table.",
            ) from error


def _snapshot(table: Table, version: str, shown: str) -> Snapshot:
    """Return the snapshot that an id, a branch or a tag names; the newest of main for nothing."""
    if not version:
        newest = table.current_snapshot()
        if newest is None:
            raise InputError(
                "the table has no snapshot yet, and so no rows",
                where=shown,
                remedy="Write rows into it first.",
            )
        return newest
    # An id first: a branch or tag that is called like one may move.
    found = table.snapshot_by_id(int(version)) if version.isdecimal() else None
    if found is None:
        found = table.snapshot_by_name(version)
    if found is None:
        kept = ", ".join(sorted(table.metadata.refs)) or "none"
        raise InputError(
            f"the table has no snapshot, branch or tag {version!r}",
            where=f"source.version, {shown}",
            remedy="It may have expired. The table's branches and tags are: " + kept + ".",
        )
    return found
