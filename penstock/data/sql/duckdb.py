"""The answer of a DuckDB file, by DuckDB's own Arrow reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.data.sql.arrow import (
    ArrowBlock,
    batches,
    module,
    of_type,
    reason,
    texts,
    times,
    whole,
)
from penstock.data.sql.columns import Cells, Plain, Unreadable
from penstock.data.sql.row_by_row import Block
from penstock.data.types.storage import check_unique

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 65_536


class DuckDb:
    """Asks a file, which it opens to read only.

    Args:
        path: The database file.
        query: One SELECT.
        where: The address without secrets, for errors.
    """

    how = "through Arrow, by DuckDB"

    def __init__(self, path: str, query: str, *, where: str) -> None:
        self._path = path
        self._query = query
        self._where = where

    def blocks(self) -> Iterator[Block]:
        """See `Answer`."""
        import pyarrow as pa

        duckdb = module("duckdb")
        # A table that is not there must not be found among Python's variables.
        settings = {"python_enable_replacements": "false"}
        try:
            with duckdb.connect(self._path, read_only=True, config=settings) as connection:
                statements = connection.extract_statements(self._query)
                if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
                    raise Unreadable("it is not one SELECT")
                relation = connection.sql(self._query)
                names = list(relation.columns)
                check_unique(names, where=f"{self._where}: query")
                kinds = dict(zip(names, map(str, relation.types), strict=True))
                with relation.to_arrow_reader(_ROWS) as reader:
                    for batch in batches(reader, _ROWS):
                        # A copy, since an error may keep columns of an answer that was left early:
                        # with DuckDB 2.0's own memory the process crashed some queries later.
                        held = batch.copy_to(pa.default_cpu_memory_manager())
                        yield ArrowBlock(
                            names, held, lambda field, array: _cells(field, array, kinds)
                        )
                        del batch
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise Unreadable(reason(error)) from error


def _cells(field: pa.Field, array: pa.Array, kinds: dict[str, str]) -> Cells:
    """Return a column's values, by its type in DuckDB."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, stored = kinds[field.name], field.type
    if pa.types.is_integer(stored) or kind in ("HUGEINT", "UHUGEINT"):
        return whole(array)
    if pa.types.is_floating(stored):
        return Plain(pc.cast(array, pa.float64()))
    if pa.types.is_date(stored) or pa.types.is_timestamp(stored):
        return times(array)
    if pa.types.is_dictionary(stored):
        return texts(pc.cast(array, pa.string()))
    if kind in ("VARCHAR", "UUID"):
        return texts(pc.cast(array, pa.string()))
    if any(
        is_one(stored) for is_one in (pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    ):
        return Plain(array)
    raise of_type(field, kind)
