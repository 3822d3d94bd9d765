"""Checks on column names that every kind of source makes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from penstock.data.spec import SourceSpec
from penstock.errors import InputError, ReadingError, absent_column
from penstock.records.dataset import Assumption

_FOR_TEXTS = (
    *("delimiter", "header", "names", "skip_lines", "skip_last", "comment", "na_values", "strip"),
    *("decimal", "thousands", "formats"),
)
_UNNAMED_INDEX = re.compile(r"__index_level_[0-9]+__")


def chosen(names: Sequence[str], source: SourceSpec, *, where: str) -> list[str]:
    """Return the columns of a table that are to be read, in the table's order.

    These are the ones that `columns` and `exclude` ask for. What pandas calls an index without a
    name is a column only if `columns` names it.

    Raises:
        InputError: If a setting names a column that the table does not have, or none is left.
    """
    for setting in ("columns", "exclude"):
        check_named(setting, getattr(source, setting), names, where=where)
    only, excluded = set(source.columns), set(source.exclude)
    selected = [
        name
        for name in names
        if (name in only or not (only or is_unnamed_index(name))) and name not in excluded
    ]
    if not selected:
        raise InputError(
            "columns and exclude leave no column",
            where=where,
            remedy=f"The table has: {', '.join(names)}.",
        )
    for setting in ("types", "formats"):
        check_named(setting, getattr(source, setting), names, where=where)
    return selected


def without_effect(source: SourceSpec, kind: str) -> list[Assumption]:
    """Return what to say of settings that are for texts, where a source has types of its own."""
    for_texts = [*_FOR_TEXTS, *(["encoding"] if kind != "JSON Lines" else [])]
    fields = SourceSpec.model_fields
    return [
        Assumption(
            risk="medium",
            text=f"{name} is set and has no effect: values of {kind} have types of their own",
            setting=f"{name}: remove it, and change such values in the source",
        )
        for name in for_texts
        if getattr(source, name) != fields[name].get_default(call_default_factory=True)
    ]


def indexes(names: Sequence[str], source: SourceSpec) -> list[Assumption]:
    """Return what to say of columns that were left out since they are an index of pandas."""
    return [
        Assumption(
            risk="low",
            column=name,
            text=f"{name!r} is the index of a pandas table, which numbers its rows; it was left "
            "out",
            setting=f"columns: [..., {name}] reads it",
        )
        for name in names
        if is_unnamed_index(name) and name not in (*source.columns, *source.exclude)
    ]


def is_unnamed_index(name: str) -> bool:
    """Whether a column is what pandas calls an index that has no name."""
    return _UNNAMED_INDEX.fullmatch(name) is not None


def without(error: InputError, names: Sequence[str], source: SourceSpec) -> ReadingError:
    """Return an error about columns that cannot be stored as one that proposes to exclude them."""
    excluded = [*source.exclude, *names]
    return ReadingError(
        error.what,
        where=error.where,
        remedy=f"Leave out what cannot be stored by exclude: [{', '.join(excluded)}], or change it "
        "in the source: numbers, booleans, text, dates and times are stored.",
        proposal={"exclude": excluded},
    )


def as_text(error: InputError, name: str, source: SourceSpec) -> ReadingError:
    """Return an error about whole numbers of more than 64 bits as one that proposes text."""
    return ReadingError(
        error.what,
        where=error.where,
        remedy=f"To keep them exactly, read them as text by types: {{{name}: string}}.",
        proposal={"types": {**source.types, name: "string"}},
    )


def check_named(setting: str, given: Iterable[str], names: Sequence[str], *, where: str) -> None:
    """Raise InputError if a setting of `source` names a column that is not in the table."""
    known = set(names)
    absent = next((name for name in given if name not in known), None)
    if absent is not None:
        raise absent_column(absent, names, where=f"source.{setting}, {where}")


def check_same_columns(
    names: Sequence[str], others: Sequence[str], *, first: str, other: str
) -> None:
    """Raise InputError unless two files have the same columns, in whatever order."""
    known, found = set(names), set(others)
    missing = [name for name in names if name not in found]
    extra = [name for name in others if name not in known]
    if missing or extra:
        differences = [f"lacks {', '.join(map(repr, missing[:5]))}"] if missing else []
        differences += [f"has in addition {', '.join(map(repr, extra[:5]))}"] if extra else []
        raise InputError(
            f"the columns differ from those of {first}: it {' and '.join(differences)}",
            where=other,
            remedy="Give all files the same columns, or name fewer of them by a glob.",
        )
