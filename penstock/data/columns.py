"""Checks on column names that every kind of source makes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from penstock.errors import InputError, absent_column


def check_declared(types: Iterable[str], names: Sequence[str], *, where: str) -> None:
    """Raise InputError if a column whose type is declared is not in the table."""
    absent = [name for name in types if name not in names]
    if absent:
        raise absent_column(absent[0], names, where=f"source.types, {where}")


def check_same_columns(
    names: Sequence[str], others: Sequence[str], *, first: str, other: str
) -> None:
    """Raise InputError unless two files have the same columns, in whatever order."""
    missing = [name for name in names if name not in others]
    extra = [name for name in others if name not in names]
    if missing or extra:
        said = [f"lacks {', '.join(map(repr, missing[:5]))}"] if missing else []
        said += [f"has in addition {', '.join(map(repr, extra[:5]))}"] if extra else []
        raise InputError(
            f"the columns differ from those of {first}: it {' and '.join(said)}",
            where=other,
            remedy="Give all files the same columns, or name fewer of them by a glob.",
        )


def check_unique(names: Sequence[str], *, where: str) -> None:
    """Raise InputError if a name occurs twice."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        places = [str(at) for at, name in enumerate(names, start=1) if name == twice]
        raise InputError(
            f"the column name {twice!r} occurs {len(places)} times, as columns {', '.join(places)}",
            where=where,
            remedy="Rename the columns so that each name occurs once.",
        )
