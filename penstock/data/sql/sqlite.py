"""The answer of an SQLite file, by ADBC.

SQLite has no types for the columns of an answer: any value may be of any. ADBC settles the types
from the first rows and then refuses what does not fit, but in a column of texts it makes a text of
whatever else is there. So the query is run in a form that shows whether all its texts are texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from penstock.data.sql.arrow import (
    ArrowBlock,
    batches,
    connected,
    module,
    of_type,
    query_reader,
    reason,
    texts,
)
from penstock.data.sql.columns import Cells, Plain, Unreadable
from penstock.data.sql.row_by_row import Block
from penstock.data.types.storage import check_unique
from penstock.records.dataset import ColumnType

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager import AdbcConnection

_ROWS = 16_384


class SqLite:
    """Asks a file, which it opens to read only.

    Args:
        path: The database file.
        query: A SELECT, VALUES or WITH.
        types: Of columns, as the user declares them.
        where: The address without secrets, for errors.
    """

    how = "through Arrow, by ADBC's driver for SQLite"

    def __init__(
        self, path: str, query: str, *, types: Mapping[str, ColumnType], where: str
    ) -> None:
        self._address = f"file:{quote(str(Path(path).absolute()))}?mode=ro"
        self._query = query
        self._types = types
        self._where = where

    def blocks(self) -> Iterator[Block]:
        """See `Answer`."""
        import pyarrow as pa

        driver = module("adbc_driver_sqlite")
        import adbc_driver_manager as adbc

        options = {driver.StatementOptions.BATCH_ROWS.value: str(_ROWS)}
        failures = (adbc.Error, pa.ArrowException, OSError)
        try:
            with connected(driver, self._address) as connection:
                with query_reader(connection, self._query, **options) as reader:
                    schema = reader.schema
                check_unique(schema.names, where=f"{self._where}: query")
                guarded = _Guarded(self._query, schema)
                try:
                    with query_reader(connection, guarded.query, **options) as reader:
                        if reader.schema.types != guarded.types:
                            raise Unreadable("the answer changes from one time to the next")
                        for batch in batches(reader, _ROWS):
                            columns = batch.columns[: len(schema)]
                            named = pa.RecordBatch.from_arrays(columns, schema=schema)
                            yield ArrowBlock(schema.names, named, self._cells)
                except (*failures, Unreadable) as error:
                    if guarded.breach and _has_rows(connection, guarded.breach):
                        raise Unreadable("a column holds texts and other values") from error
                    raise
        except failures as error:
            raise Unreadable(reason(error)) from error

    def _cells(self, field: pa.Field, array: pa.Array) -> Cells:
        import pyarrow as pa

        if pa.types.is_string(field.type):
            return texts(array)
        if pa.types.is_integer(field.type):
            return Plain(array)
        # Whole numbers among floats have become floats.
        if pa.types.is_floating(field.type) and self._types.get(field.name, "number") == "number":
            return Plain(array)
        raise of_type(field, field.type)


class _Guarded:
    """A query in a form that fails where a column of texts holds something else as well.

    For such a row a text is put into a column of numbers, which ADBC refuses, or into one more
    column where there is none of numbers. A guard of its own in every row costs a fifth of all.

    Args:
        query: The query.
        schema: Of its answer.

    Attributes:
        query: The form.
        types: Of its columns.
        breach: A query of such rows; empty where no column holds texts.
    """

    def __init__(self, query: str, schema: pa.Schema) -> None:
        import pyarrow as pa

        names = [f"c{at}" for at in range(len(schema))]
        texts = [n for n, kind in zip(names, schema.types, strict=True) if pa.types.is_string(kind)]
        numbers = [
            place
            for place, kind in enumerate(schema.types)
            if pa.types.is_integer(kind) or pa.types.is_floating(kind)
        ]
        answer = query.strip().rstrip("; \t\r\n")
        # A comment at the end of the query would hide the bracket.
        within = f"WITH answer ({', '.join(names)}) AS (\n{answer}\n)"
        # Whatever their collation, SQLite orders numbers before all texts and blobs after them.
        other = " OR ".join(f"{name} < '' OR {name} >= x''" for name in texts)
        columns, self.types = list(names), list(schema.types)
        if texts and not numbers:
            numbers = [len(columns)]
            columns.append("1")
            self.types.append(pa.int64())
        if texts:
            place = numbers[0]
            columns[place] = f"CASE WHEN {other} THEN 'other' ELSE {columns[place]} END"
        self.query = f"{within} SELECT {', '.join(columns)} FROM answer"  # noqa: S608 - the user's
        self.breach = f"{within} SELECT 1 FROM answer WHERE {other}" if texts else ""  # noqa: S608


def _has_rows(connection: AdbcConnection, query: str) -> bool:
    with query_reader(connection, query) as reader:
        return any(batch.num_rows for batch in reader)
