"""Delta tables: `delta:///lake/loans`, `delta+s3://bucket/loans`; extra `delta`."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from penstock.data.sources.files import store_errors
from penstock.data.spec import SourceSpec
from penstock.data.versioned.opening import OpenedVersion
from penstock.data.versioned.table_reader import reading
from penstock.errors import InputError
from penstock.records.origin import DataReference
from penstock.redaction import redact, redact_address

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

_ROWS = 65_536

_GONE = (
    "VACUUM removes files of older versions: name a newer version, or restore the file from a "
    "backup."
)

_PATIENCE = {
    "connect_timeout": "10s",
    "timeout": "60s",
    "max_retries": "2",
    "retry_timeout": "20s",
}
"""Settings that make a store fail in bounded time where it does not answer."""


@contextlib.contextmanager
def opened(source: SourceSpec, *, address: str, beside: Path) -> Iterator[OpenedVersion]:  # noqa: ARG001
    """Yield a Delta table at the version that is set; see `opening.opened_version`."""
    shown = redact_address(source.uri)
    table = _table(address, source.version, shown)
    version = str(table.version())
    reference = DataReference(
        kind="delta",
        locator=shown,
        resolved=version,
        asked=source.version,
        table=str(table.metadata().id),
    )
    pinned = source.model_copy(update={"version": version})
    yield OpenedVersion(reference, pinned, table=DeltaVersion(table, where=shown))


class DeltaVersion:
    """A Delta table at one version.

    Args:
        table: The table, loaded at that version.
        where: Its address, without credentials.
    """

    def __init__(self, table: DeltaTable, *, where: str) -> None:
        self._table = table
        self.where = where
        self.title = f"Delta version {table.version()}"
        self._dataset: Any = None

    def schema(self) -> pa.Schema:
        """Return its columns.

        Raises:
            InputError: If the table uses a feature that is not read.
        """
        from deltalake.exceptions import DeltaProtocolError

        if self._dataset is None:
            try:
                self._require_plain_names()
                self._dataset = self._table.to_pyarrow_dataset()
            except DeltaProtocolError as error:
                raise InputError(
                    f"the table uses a feature of Delta that is not read: {error}",
                    where=self.where,
                    remedy="Rewrite it without: REORG TABLE ... APPLY (PURGE) takes deletion "
                    "vectors out; a copy of the table has no column mapping.",
                ) from error
        return self._dataset.schema

    def _require_plain_names(self) -> None:
        """Refuse a table whose files have other names for its columns: they would read as empty.

        The library refuses it where the protocol names its features, from reader version 3 on.
        """
        from deltalake.exceptions import DeltaProtocolError

        mode = self._table.metadata().configuration.get("delta.columnMapping.mode", "none")
        if mode != "none":
            raise DeltaProtocolError(f"columnMapping, mode {mode}")

    def files(self) -> dict[str, str]:
        """Return its files; a change of any row of one writes another."""
        import pyarrow as pa

        actions = pa.table(self._table.get_add_actions())
        # The log has paths as they stand in an address.
        found = zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True)
        return {unquote(path): f"{size} bytes" for path, size in sorted(found)}

    def batches(
        self, names: Sequence[str], *, without: Collection[str]
    ) -> Iterator[pa.RecordBatch]:
        """Yield some columns of its rows, file by file in the order of their names.

        Raises:
            InputError: If a file of this version is gone.
        """
        schema = self.schema()
        fragments = sorted(self._dataset.get_fragments(), key=lambda one: str(one.path))
        for fragment in fragments:
            if fragment.path in without:
                continue
            with reading(self.where, self.title, errors=_errors, remedy=_GONE):
                yield from fragment.to_batches(
                    schema=schema, columns=list(names), batch_size=_ROWS, use_threads=False
                )


def _table(address: str, version: str, shown: str) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    place = _place(address)
    options = _options(place)
    with _errors(shown):
        try:
            newest = DeltaTable(place, storage_options=options)
        except TableNotFoundError as error:
            raise InputError(
                "there is no Delta table",
                where=shown,
                remedy="Give the address of the folder that holds _delta_log.",
            ) from error
        if not version:
            return newest
        number = _number(newest, version, place, shown)
        try:
            return DeltaTable(place, version=number, storage_options=options)
        except DeltaError as error:
            reason = " ".join(redact(str(error)).split())
            raise InputError(
                f"version {number} of the table cannot be read: {reason:.200}",
                where=shown,
                remedy="Its log may have been cleaned up: name a later version.",
            ) from error


def _number(newest: DeltaTable, version: str, place: str, shown: str) -> int:
    """Return the number of a version that is asked for by number or by time."""
    last = int(newest.version())
    if re.fullmatch(r"\d+", version):
        if int(version) > last:
            raise InputError(
                f"the table has no version {version}; its newest is {last}",
                where=shown,
                remedy="Correct source.version, or leave it out for the newest.",
            )
        return int(version)
    try:
        when = datetime.fromisoformat(version)
    except ValueError as error:
        raise InputError(
            f"{version!r} is neither a version's number nor a time",
            where=f"source.version, {shown}",
            remedy="Write 3, or a time as 2026-11-30T00:00:00Z.",
        ) from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return _at(newest, when, place, shown)


def _at(newest: DeltaTable, when: datetime, place: str, shown: str) -> int:
    """Return the last version that was there at a time.

    Only after every version's own time: a table that is loaded by time goes back to its first
    version for any earlier one, in silence.
    """
    milliseconds = when.timestamp() * 1000
    for number, written in _times(newest, place):
        if written is None:
            raise InputError(
                f"version {number} of the table does not say when it was written",
                where=f"source.version, {shown}",
                remedy="Its writer left that out: name a version's number.",
            )
        if written <= milliseconds:
            return number
    raise InputError(
        f"the table has no version as old as {when.isoformat()}",
        where=f"source.version, {shown}",
        remedy="Name a later time, or a version's number.",
    )


def _times(newest: DeltaTable, place: str) -> Iterator[tuple[int, int | None]]:
    """Yield each version, newest first, and when it was written: milliseconds since 1970.

    By its own file in the log: the library's history counts a version that does not describe its
    commit as if it were not there, and versions that came since.
    """
    import pyarrow.fs as stores
    from deltalake.fs import DeltaStorageHandler

    log = stores.PyFileSystem(DeltaStorageHandler(place, _options(place)))
    for number in range(int(newest.version()), -1, -1):
        try:
            with log.open_input_stream(f"_delta_log/{number:020}.json") as stream:
                commit = stream.read()
        except FileNotFoundError:
            return  # It was cleaned up, and so were those before it.
        yield number, _written(commit)


def _written(commit: bytes) -> int | None:
    for line in commit.splitlines():
        if b'"commitInfo"' in line and (found := json.loads(line).get("commitInfo")):
            time = found.get("inCommitTimestamp", found.get("timestamp"))
            return None if time is None else int(time)
    return None


def _place(address: str) -> str:
    """Return the address of a table as the library has it: `delta+s3://x` is `s3://x`."""
    scheme, _, path = address.partition("://")
    store = scheme.partition("+")[2]
    if store:
        return f"{store}://{path}"
    return str(Path(path).absolute())


def _options(place: str) -> dict[str, str]:
    if "://" not in place:
        return {}
    # A store that the environment names by http:// is meant to be read so.
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return _PATIENCE | ({"allow_http": "true"} if plain else {})


@contextlib.contextmanager
def _errors(where: str) -> Iterator[None]:
    """Turn what the library raises into our errors; its own are trees of lines, in colours."""
    with store_errors(where):
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            lines = re.sub(r"\x1b\[\d+m|↳", "", str(error)).splitlines()
            said = ": ".join(line.strip() for line in lines if line.strip())
            refused = re.search(r"\b(401|403)\b|Forbidden|AccessDenied", said)
            raise (PermissionError if refused else OSError)(said) from error
