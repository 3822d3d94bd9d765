"""Arithmetic over columns, as a policy writes it: read as a tree of few known kinds, never run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock.errors import InputError

if TYPE_CHECKING:
    import numpy as np

ALLOWED = (
    "Allowed are numbers, texts in quotes, names of columns (column('of any name') for one that is "
    "no plain word), + - * /, comparisons, abs(), min() and max()."
)

_LONGEST = 1000
_DEEPEST = 50
_LARGEST = 1e300

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SYMBOLS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Args:
        text: As it was written.
        names: The columns that it names.
    """

    text: str
    names: frozenset[str]
    _tree: ast.expr

    def of(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return its value for every row, float64; a comparison counts as 1 or 0.

        Args:
            columns: The columns it names, shape (n,): numbers (NaN for missing) or texts (None).

        Raises:
            InputError: If it names a column that is not there, or uses a text as a number, or a
                value is not finite though no column is missing in that row.
        """
        import numpy as np

        for name in sorted(self.names - columns.keys()):
            raise InputError(
                f"there is no column {name!r}",
                where=f"expression {self.text!r}",
                remedy=f"There are: {', '.join(sorted(columns))}.",
            )
        with np.errstate(all="ignore"):
            value = np.asarray(self._value(self._tree, columns))
        if value.dtype.kind not in "biuf":
            raise _wrong(self.text, "its value is a text, not a number")
        return value.astype(np.float64)

    def _value(self, node: ast.expr, columns: Mapping[str, np.ndarray]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return columns[name]
            case ast.Call(func=ast.Name(id="column"), args=[ast.Constant(value=str(name))]):
                return columns[name]
            case ast.Call(func=ast.Name(id=name), args=arguments):
                given = [self._number(self._value(one, columns), name) for one in arguments]
                return _call(name, given)
            case ast.UnaryOp(op=sign, operand=operand):
                value = self._number(self._value(operand, columns), "-")
                return _OPERATORS[type(sign)](value)
            case ast.BinOp(left=left, op=sign, right=right):
                values = (self._value(side, columns) for side in (left, right))
                return _OPERATORS[type(sign)](*(self._number(v, "arithmetic") for v in values))
            case ast.Compare(left=left, ops=[sign], comparators=[right]):
                return self._compare(sign, self._value(left, columns), self._value(right, columns))
        raise AssertionError(ast.dump(node))

    def _compare(self, sign: ast.cmpop, left: Any, right: Any) -> Any:
        import numpy as np

        if type(sign) in _SYMBOLS:
            left, right = (self._number(side, _SYMBOLS[type(sign)]) for side in (left, right))
        elif _is_text(left) != _is_text(right):
            raise _wrong(self.text, "it compares a text with a number")
        return np.asarray(_OPERATORS[type(sign)](left, right)).astype(np.float64)

    def _number(self, value: Any, use: str) -> Any:
        import numpy as np

        if _is_text(value):
            raise _wrong(self.text, f"it uses a text as a number (in {use})")
        return np.asarray(value, dtype=np.float64)


def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        InputError: If it is not one, or holds what is not allowed; the message names it.
    """
    if len(text) > _LONGEST:
        raise _wrong(text[:60] + "...", f"it is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise _wrong(text, f"it cannot be read: {reason}") from error
    names: set[str] = set()
    _check(tree, text, names, depth=0)
    return Expression(text=text, names=frozenset(names), _tree=tree)


def _check(node: ast.expr, text: str, names: set[str], *, depth: int) -> None:
    """Refuse every kind of node but those that `Expression._value` knows."""
    if depth > _DEEPEST:
        raise _wrong(text, "it is nested too deeply")
    name = _column(node)
    if name is not None:
        names.add(name)
        return
    parts = _parts(node)
    if parts is None:
        raise _wrong(text, f"{ast.unparse(node)!r} is not allowed")
    for part in parts:
        _check(part, text, names, depth=depth + 1)


def _column(node: ast.expr) -> str | None:
    """Return the column that a node names, if it names one."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Call(
            func=ast.Name(id="column"), args=[ast.Constant(value=str(name))], keywords=[]
        ):
            return name
    return None


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """Return the operands of an allowed node; None of one that is not allowed."""
    match node:
        case ast.Constant(value=value):
            return [] if _is_plain(value) else None
        case ast.Call(func=ast.Name(id="abs"), args=[one], keywords=[]):
            return [one]
        case ast.Call(func=ast.Name(id="min" | "max"), args=[_, _, *_] as parts, keywords=[]):
            return parts
        case ast.UnaryOp(op=sign, operand=one) if type(sign) in _OPERATORS:
            return [one]
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return [left, right]
        case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in _OPERATORS:
            return [left, right]
    return None


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return True
    if type(value) is int or type(value) is float:
        return abs(value) < _LARGEST
    return False


def _call(name: str, given: list[Any]) -> Any:
    import numpy as np

    if name == "abs":
        return np.abs(given[0])
    chosen = np.minimum if name == "min" else np.maximum
    result = given[0]
    for one in given[1:]:
        result = chosen(result, one)
    return result


def _is_text(value: Any) -> bool:
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    return isinstance(value, str) or kind in ("O", "U")


def _wrong(text: str, reason: str) -> InputError:
    return InputError(reason, where=f"expression {text!r}", remedy=ALLOWED)
