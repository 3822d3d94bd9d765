r"""Regular expressions as Python reads them, over Arrow arrays.

Most patterns mean the same to RE2, which searches an Arrow array at once, once a few signs are
written out: `$` is also before a last line feed, `\\s` is also a form feed. That holds for ASCII;
what else a text holds, and any pattern that has no such form, is left to Python's own `re`, once
for each different text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from re import _constants as signs  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data import arrow

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_REPEATS = 1000
"""RE2 takes no more."""

_CLASSES = {
    signs.CATEGORY_DIGIT: "0-9",
    signs.CATEGORY_SPACE: r"\t-\r\x1c-\x20",
    signs.CATEGORY_WORD: "0-9A-Za-z_",
}
_REST = {
    signs.CATEGORY_NOT_DIGIT: r"\x00-/:-\x{10ffff}",
    signs.CATEGORY_NOT_SPACE: r"\x00-\x08\x0e-\x1b!-\x{10ffff}",
    signs.CATEGORY_NOT_WORD: r"\x00-/:-@\[-\^`{-\x{10ffff}",
}
_PLACES = {
    signs.AT_BEGINNING: r"\A",
    signs.AT_BEGINNING_STRING: r"\A",
    signs.AT_END_STRING: r"\z",
    signs.AT_BOUNDARY: r"\b",
}


class _NoSuchFormError(Exception):
    """RE2 has no such construct."""


def matches(texts: pa.StringArray, pattern: str) -> pa.BooleanArray:
    """Return for each text whether `re.search` finds a pattern in it; null where it is null.

    Args:
        texts: The texts.
        pattern: As Python's `re` reads it.

    Raises:
        re.error: If it is none.
    """
    import pyarrow.compute as pc

    fast = for_re2(pattern)
    if fast is None:
        return _by_python(texts, pattern)
    found = pc.match_substring_regex(texts, pattern=fast)
    plain = pc.string_is_ascii(texts)
    if not plain.false_count:
        return found
    return pc.if_else(
        plain, found, _by_python(pc.if_else(plain, arrow.null(texts.type), texts), pattern)
    )


@functools.lru_cache(maxsize=256)
def for_re2(pattern: str) -> str | None:
    """Return a pattern for RE2 that finds the same in ASCII texts, None if there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tree = parser.parse(pattern)
    flags = tree.state.flags & ~re.UNICODE
    if flags & ~(re.DOTALL | re.IGNORECASE):
        return None
    try:
        body = _sequence(list(tree), dotall=bool(flags & re.DOTALL), last=True)
        found = f"(?i:{body})" if flags & re.IGNORECASE else body
        pc.match_substring_regex(arrow.texts([""]), pattern=found)
    except (_NoSuchFormError, UnicodeEncodeError, pa.ArrowInvalid):
        return None
    return found


def _by_python(texts: pa.StringArray, pattern: str) -> pa.BooleanArray:
    search = re.compile(pattern).search
    return asked(texts, lambda text: search(text) is not None)


def asked(texts: pa.StringArray, ask: Callable[[str], bool]) -> pa.BooleanArray:
    """Return the test of each text, run once for each different one; null where null."""
    coded = texts.dictionary_encode()
    found = np.array([ask(text) for text in coded.dictionary.to_pylist()], dtype=bool)
    return arrow.booleans(found).take(coded.indices)


def _sequence(items: list[tuple[Any, Any]], *, dotall: bool, last: bool) -> str:
    """Return a sequence in RE2's form.

    Args:
        items: What Python's parser made of it.
        dotall: Whether a dot is also a line feed.
        last: Whether nothing follows it in the pattern.
    """
    end = len(items) - 1
    return "".join(
        _item(sign, value, dotall=dotall, last=last and at == end)
        for at, (sign, value) in enumerate(items)
    )


def _item(sign: Any, value: Any, *, dotall: bool, last: bool) -> str:
    if sign is signs.LITERAL:
        return _letter(value)
    if sign is signs.NOT_LITERAL:
        return f"[^{_letter(value)}]"
    if sign is signs.ANY:
        return "(?s:.)" if dotall else r"[^\n]"
    if sign is signs.IN:
        return _class(value)
    if sign is signs.AT:
        return _place(value, last=last)
    if sign is signs.BRANCH:
        ways = (_sequence(list(way), dotall=dotall, last=last) for way in value[1])
        return f"(?:{'|'.join(ways)})"
    if sign is signs.SUBPATTERN:
        _, added, removed, body = value
        if added or removed:
            raise _NoSuchFormError
        return f"(?:{_sequence(list(body), dotall=dotall, last=last)})"
    if sign in (signs.MAX_REPEAT, signs.MIN_REPEAT):
        return _repeat(*value, dotall=dotall)
    raise _NoSuchFormError


def _repeat(least: int, most: Any, body: Any, *, dotall: bool) -> str:
    inner = _sequence(list(body), dotall=dotall, last=False)
    endless = most is signs.MAXREPEAT
    if max(least, 0 if endless else int(most)) > _MOST_REPEATS:
        raise _NoSuchFormError
    upto = "" if endless else str(int(most))
    return f"(?:{inner}){{{least},{upto}}}"


def _place(place: Any, *, last: bool) -> str:
    if place is signs.AT_END:
        # Where something follows, the line feed would have to be looked at and left.
        if not last:
            raise _NoSuchFormError
        return r"(?:\n?\z)"
    if place not in _PLACES:
        raise _NoSuchFormError
    return _PLACES[place]


def _class(items: list[tuple[Any, Any]]) -> str:
    negated, parts = "", []
    for sign, value in items:
        if sign is signs.NEGATE:
            negated = "^"
        elif sign is signs.LITERAL:
            parts.append(_letter(value))
        elif sign is signs.RANGE:
            parts.append(f"{_letter(value[0])}-{_letter(value[1])}")
        elif value in _CLASSES:
            parts.append(_CLASSES[value])
        elif value in _REST:
            parts.append(_REST[value])
        else:
            raise _NoSuchFormError
    return f"[{negated}{''.join(parts)}]"


def _letter(code: int) -> str:
    return chr(code) if chr(code).isascii() and chr(code).isalnum() else f"\\x{{{code:x}}}"
