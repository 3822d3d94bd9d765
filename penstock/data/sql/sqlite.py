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
        try:
            with connected(driver, self._address) as connection:
                with query_reader(connection, self._query, **options) as reader:
                    schema = reader.schema
                check_unique(schema.names, where=f"{self._where}: query")
                with query_reader(connection, _guarded(self._query, schema), **options) as reader:
                    if reader.schema.types[:-1] != schema.types:
                        raise Unreadable("the answer changes from one time to the next")
                    for batch in batches(reader, _ROWS):
                        yield ArrowBlock(schema.names, _checked(batch, schema), self._cells)
        except (adbc.Error, pa.ArrowException, OSError) as error:
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


def _guarded(query: str, schema: pa.Schema) -> str:
    """Return a query with one more column: whether every text of a row is one, or missing."""
    import pyarrow as pa

    names = [f"c{at}" for at in range(len(schema))]
    guards = [
        f"typeof({name}) IN ('text', 'null')"
        for name, kind in zip(names, schema.types, strict=True)
        if pa.types.is_string(kind)
    ]
    columns, guard = ", ".join(names), " AND ".join(guards) or "1"
    answer = query.strip().rstrip("; \t\r\n")
    # A comment at the end of the query would hide the bracket.
    within = f"WITH answer ({columns}) AS (\n{answer}\n)"
    return f"{within} SELECT {columns}, {guard} FROM answer"  # noqa: S608 - the user's own query


def _checked(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch without the column of the guards, under the names that the query gives.

    Raises:
        Unreadable: If a column of texts holds something else as well.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    *columns, guards = batch.columns
    if pc.min(guards).as_py() == 0:
        raise Unreadable("a column holds texts and other values")
    return pa.RecordBatch.from_arrays(columns, schema=schema)
