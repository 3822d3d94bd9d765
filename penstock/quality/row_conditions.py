"""Reads the row conditions of Great Expectations: which rows an expectation is about.

It has three ways to write one: an expression of pandas (`age > 30 and state == "CA"`), one
comparison of its own grammar (`col("age") > 30`), and an object (`{type: comparison, ...}`). Read
here is what compares columns with values; the rest is left to Great Expectations.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import Any

from penstock.errors import InputError
from penstock.quality.arguments import in_utc
from penstock.quality.conditions import Among, Between, Missing
from penstock.quality.selections import Compared, Opposite, Selection, Together
from penstock.quality.spec import Expectation
from penstock.quality.values import Interval, Members, fits
from penstock.records.dataset import Dataset, ProfiledColumn

KEYS = frozenset(["row_condition", "condition_parser"])

_OWN = ("great_expectations", "great_expectations__experimental__")

_OWN_CONDITION = re.compile(
    r"""\s*col\("(?P<column>[^"]+)"\)\s*(?:
        (?P<present>(?i:\.notnull\(\)))
        | (?P<operator>[<>]=?|==|!=)\s*(?:
            (?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
            | "(?P<double>[^"']+)" | '(?P<single>[^"']+)' )
    )\s*""",
    re.VERBOSE,
)

_PIECES = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*") | `(?P<name>[^`]*)` | (?P<sign>[&|])""",
    re.VERBOSE,
)

_OPERATORS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NULLNESS = {"isnull": True, "isna": True, "notnull": False, "notna": False}


class UnclearError(Exception):
    """Only Great Expectations can read the condition."""


def has_condition(expectation: Expectation) -> bool:
    """Return whether an expectation says which rows it is about."""
    return bool(KEYS & expectation.kwargs.keys())


def without_condition(expectation: Expectation) -> Expectation:
    """Return the expectation as it is of the rows that its condition selects."""
    kwargs = {key: value for key, value in expectation.kwargs.items() if key not in KEYS}
    return expectation.model_copy(update={"kwargs": kwargs})


def selection_of(expectation: Expectation, dataset: Dataset, where: str) -> Selection:
    """Return which rows an expectation with a condition is about.

    Args:
        expectation: It has a row condition, or names what parses one.
        dataset: The record of the data.
        where: Its place in the suite, for errors.

    Raises:
        UnclearError: If only Great Expectations can say.
        InputError: If Great Expectations would pass over a part of the condition.
    """
    condition = expectation.kwargs.get("row_condition")
    parser = expectation.kwargs.get("condition_parser")
    if isinstance(condition, Mapping):
        return _Reader(dataset).of_object(condition)
    if not isinstance(condition, str) or not condition or parser not in (None, "pandas", *_OWN):
        raise UnclearError
    if parser in _OWN:
        return _of_own(condition, dataset, where)
    return _of_pandas(condition, dataset)


def _of_own(text: str, dataset: Dataset, where: str) -> Selection:
    """Read `col("age") > 30`: one comparison, and nothing after it."""
    found = _OWN_CONDITION.match(text)
    if found is None:
        raise UnclearError
    if found.end() < len(text):
        raise InputError(
            f"only the first comparison of {text!r} would count: Great Expectations' own grammar "
            f"passes over {text[found.end() :]!r}",
            where=f"{where}.kwargs.row_condition",
            remedy="Write one comparison, or take `condition_parser: pandas`.",
        )
    reader = _Reader(dataset)
    column = reader.column(found["column"])
    if found["present"]:
        return _missing(column, wanted=False)
    if found["number"] is None:
        return _comparison(column, found["operator"], found["double"] or found["single"])
    return _comparison(column, found["operator"], _number(found["number"]))


def _number(text: str) -> float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _of_pandas(text: str, dataset: Dataset) -> Selection:
    """Read an expression of `DataFrame.query`, in which & and | bind as loosely as and, or."""
    names: dict[str, str] = {}

    def plain(piece: re.Match[str]) -> str:
        if piece["name"] is not None:
            names[f"_quoted_{len(names)}_"] = piece["name"]
            return next(reversed(names))
        return {"&": " and ", "|": " or "}.get(piece[0], piece[0])

    try:
        tree = ast.parse(_PIECES.sub(plain, text.strip()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnclearError from error
    return _Reader(dataset, names).of_expression(tree.body)


class _Reader:
    """Turns what was parsed into a selection.

    Args:
        dataset: The record of the data.
        names: Columns' names that were written between backticks, by what stands for them.
    """

    def __init__(self, dataset: Dataset, names: Mapping[str, str] = {}) -> None:
        self._dataset = dataset
        self._names = names

    def column(self, name: str) -> ProfiledColumn:
        column = self._dataset.column(self._names.get(name, name))
        if column is None:
            raise UnclearError
        return column

    def of_object(self, given: Mapping[str, Any], *, inside: str = "") -> Selection:
        """Read a condition as an object; Great Expectations has no `or` inside another group."""
        kind = given.get("type")
        parts = given.get("conditions")
        if kind in ("and", "or") and isinstance(parts, list) and parts:
            if (kind == "or" and inside) or not all(isinstance(part, Mapping) for part in parts):
                raise UnclearError
            read = tuple(self.of_object(part, inside=kind) for part in parts)
            return Together(read, every=kind == "and")
        if kind == "pass_through" and not inside:
            return _of_pandas(str(given.get("pass_through_filter")), self._dataset)
        named = given.get("column")
        name = named.get("name") if isinstance(named, Mapping) else None
        if not isinstance(name, str):
            raise UnclearError
        if kind == "nullity" and isinstance(given.get("is_null"), bool):
            return _missing(self.column(name), wanted=given["is_null"])
        if kind != "comparison":
            raise UnclearError
        operator = str(given.get("operator")).lower().replace("_", " ")
        return _comparison(self.column(name), operator, given.get("parameter"))

    def of_expression(self, node: ast.expr) -> Selection:
        """Read an expression that is true or false of each row."""
        if isinstance(node, ast.BoolOp):
            parts = tuple(map(self.of_expression, node.values))
            return Together(parts, every=isinstance(node.op, ast.And))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            return Opposite(self.of_expression(node.operand))
        if isinstance(node, ast.Compare):
            return self._chain(node)
        if isinstance(node, ast.Call):
            return self._nullness(node)
        if isinstance(node, ast.Name):
            column = self.column(node.id)
            # To pandas, booleans with gaps are objects.
            if column.type == "boolean" and not column.profile.nulls:
                return _comparison(column, "==", True)
        raise UnclearError

    def _chain(self, node: ast.Compare) -> Selection:
        """Read `1 < age <= 30`: two comparisons."""
        operands = [node.left, *node.comparators]
        parts = tuple(
            self._pair(left, _OPERATORS.get(type(sign), ""), right)
            for left, sign, right in zip(operands, node.ops, operands[1:], strict=False)
        )
        return parts[0] if len(parts) == 1 else Together(parts, every=True)

    def _pair(self, left: ast.expr, operator: str, right: ast.expr) -> Selection:
        if isinstance(left, ast.Name):
            return _comparison(self.column(left.id), operator, _literal(right))
        if isinstance(right, ast.Name) and operator in _MIRRORED:
            return _comparison(self.column(right.id), _MIRRORED[operator], _literal(left))
        raise UnclearError

    def _nullness(self, node: ast.Call) -> Selection:
        method = node.func
        if not isinstance(method, ast.Attribute) or node.args or node.keywords:
            raise UnclearError
        if not isinstance(method.value, ast.Name) or method.attr not in _NULLNESS:
            raise UnclearError
        return _missing(self.column(method.value.id), wanted=_NULLNESS[method.attr])


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise UnclearError from error


def _missing(column: ProfiledColumn, *, wanted: bool) -> Selection:
    return Compared(Missing(column.name, negated=not wanted), absent=False)


def _comparison(column: ProfiledColumn, operator: str, value: Any) -> Selection:
    """Return the test of a column against a value, or, with `in`, a list of values."""
    several = operator in ("in", "not in")
    if several != isinstance(value, list | tuple):
        raise UnclearError
    values = [_as_stored(one, column) for one in (value if several else [value])]
    negated = operator in ("!=", "not in")
    # Whole numbers with gaps are pandas' nullable ones, of which a missing one is unknown.
    unknown = column.type == "integer" and not several
    absent = None if unknown else negated
    if several or operator in ("==", "!="):
        members = Members(column.name, column.type, tuple(values))
        return Compared(Among(members, negated), absent)
    if operator not in _MIRRORED or column.type in ("string", "boolean"):
        raise UnclearError
    side = "max_value" if operator.startswith("<") else "min_value"
    strict = {f"strict_{side[:3]}": not operator.endswith("=")}
    interval = Interval.of({side: values[0], **strict}, column.type)
    return Compared(Between(column.name, interval), absent)


def _as_stored(value: Any, column: ProfiledColumn) -> Any:
    """Return a value as a column's values are compared to; a time without an offset is UTC."""
    held = in_utc(value) if column.type == "datetime" else value
    if not fits(held, column.type) or (isinstance(held, float) and not math.isfinite(held)):
        raise UnclearError
    return held
