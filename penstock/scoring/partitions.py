"""Rows divided into folders by the values of columns, named as Hive and Arrow name them.

A folder is `column=value`, the value as text and percent-encoded; a missing one is
`__HIVE_DEFAULT_PARTITION__`. The columns are in the folders' names alone, and not in the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from penstock.errors import InputError, absent_column
from penstock.records.dataset import Column

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = "__HIVE_DEFAULT_PARTITION__"
"""Stands for a missing value, as in Hive, Spark and Arrow."""

MOST_COLUMNS = 3
MOST_FOLDERS = 1024
"""Of one scoring: each is a file in every part. Arrow's own writer has the same bound."""

_NAME_BYTES = 255
_OPTION = "--partition-by"


def require_columns(by: Sequence[str], columns: Sequence[Column]) -> None:
    """Return only if rows of these columns can be divided so.

    Raises:
        InputError: If a column is not written, is named twice, or its name or values are none that
            a folder can have.
    """
    types = {column.name: column.type for column in columns}
    if len(by) > MOST_COLUMNS or len(set(by)) < len(by):
        raise InputError(
            f"rows are divided by at most {MOST_COLUMNS} different columns, not by {', '.join(by)}",
            where=_OPTION,
            remedy="Name fewer.",
        )
    for name in by:
        if name not in types:
            raise absent_column(name, list(types), where=_OPTION, table="what is written")
        if types[name] == "number":
            raise InputError(
                f"{name!r} holds numbers with fractions, which name no folders",
                where=_OPTION,
                remedy="Name a column of texts, whole numbers, truth values or times.",
            )
        if not name or name[0] in "._" or set(name) & set("=/%\0"):
            raise InputError(
                f"readers of such folders would not find the column {name!r}",
                where=_OPTION,
                remedy="Its name must not begin with . or _, nor hold =, / or %. Rename it.",
            )


def no_folders(*, where: str) -> InputError:
    """Return what a database ends with that is to divide its rows."""
    return InputError(
        "a database's table has no folders to divide rows into",
        where=where,
        remedy="Leave it out: the columns are in the table.",
    )


def folders_of(table: pa.Table, by: Sequence[str]) -> dict[str, np.ndarray]:
    """Return which rows belong into which folder: their places in the table, ascending, by path.

    Args:
        table: The rows.
        by: The columns, the outermost folder's first.

    Raises:
        InputError: If a value is one that no folder can be named by.
    """
    codes = np.zeros(table.num_rows, dtype=np.int64)
    names: list[list[str]] = []
    for column in by:
        of_column, found = _names(table, column)
        codes = codes * len(found) + of_column
        names.append(found)
    order = np.argsort(codes, kind="stable")
    firsts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    runs = np.split(order, firsts[1:]) if len(order) else []
    return {_path(int(codes[places[0]]), names): places for places in runs}


def _names(table: pa.Table, column: str) -> tuple[np.ndarray, list[str]]:
    """Return a number for each row's folder, and the folders' names by number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = table.column(column).combine_chunks()
    encoded = pc.dictionary_encode(values, null_encoding="encode")
    texts = pc.cast(encoded.dictionary, pa.string()).to_pylist()
    numbers: np.ndarray = encoded.indices.to_numpy().astype(np.int64)
    return numbers, [_name(column, text) for text in texts]


def _name(column: str, text: str | None) -> str:
    if text is not None and (text == MISSING or "\0" in text):
        why = "stands for a missing value" if text == MISSING else "readers cut at its character 0"
        raise InputError(
            f"{column!r} holds {text!r:.60}, which in a folder's name {why}",
            where=_OPTION,
            remedy="Correct it in the source, or divide the rows by another column.",
        )
    name = f"{column}={MISSING if text is None else quote(text, safe='')}"
    if len(name.encode()) > _NAME_BYTES:
        raise InputError(
            f"a value of {column!r} is too long to name a folder: {text!s:.40}...",
            where=_OPTION,
            remedy="Divide the rows by another column.",
        )
    return name


def _path(code: int, names: Sequence[Sequence[str]]) -> str:
    found: list[str] = []
    for of_column in reversed(names):
        code, at = divmod(code, len(of_column))
        found.append(of_column[at])
    return "/".join(reversed(found))
