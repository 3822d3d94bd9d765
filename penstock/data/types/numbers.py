"""How a number is written: decimal mark, groups of three digits, a currency or percent sign."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from penstock.errors import InputError
from penstock.records.dataset import TextFormat

if TYPE_CHECKING:
    import pyarrow as pa

INTEGER = r"[+-]?[0-9]+"
CODE = r"^(?:0[0-9]+|\+[0-9]{7,})$"
"""A leading zero before more digits, as in a zip code, or a telephone number: a code, no number."""

MINUS = "\u2212"
"""The typographic minus sign."""

SPACES = "\u0020\u00a0\u202f"
"""What is written for a space between groups of digits."""

_CURRENCIES = (
    "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|INR|JPY|KRW|MXN|NOK|NZD|PLN|RUB|SEK|SGD|TRY|USD|"
    "ZAR"
)
NUMBERISH = (
    rf"^\(?[+{MINUS}-]?(?:(?:\p{{Sc}}|(?:US|A|C|R)\$|{_CURRENCIES})[{SPACES}]?)?[+{MINUS}-]?"
    rf"[.,]?[0-9][0-9.,'{SPACES}]*"
    rf"(?:[{SPACES}]?(?:\p{{Sc}}|%|\x{{2030}}|{_CURRENCIES})|"
    rf"[{SPACES}][A-Za-z\x{{00b0}}\x{{00b5}}/\x{{00b2}}\x{{00b3}}]{{1,6}})?"
    r"\)?$"
)
"""What could be a number in some way of writing; for RE2, since Python knows no \\p."""

_SIGN = f"[+{MINUS}-]?"
_SPECIAL = f"{_SIGN}(?:[iI]nf|INF|[iI]nfinity)|[nN]a[nN]|NAN"


@functools.lru_cache(maxsize=256)
def pattern(written: TextFormat | None, *, fraction: bool = True, ungrouped: bool = True) -> str:
    """Return the regular expression (of RE2 and Python alike) of a number so written.

    Groups have exactly three digits, and the first does not begin with a zero. An affix stands with
    every number, before or after it, and a negative one may stand in parentheses then.

    Args:
        written: How numbers are written; None: the plain way.
        fraction: Also numbers that are not whole.
        ungrouped: Also numbers of four digits or more without marks between the groups.
    """
    if written is None:
        return rf"^(?:{_SIGN}(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|{_SPECIAL})$"
    mark = re.escape(written.decimal)
    whole = "[0-9]+"
    if written.thousands:
        group = f"[{SPACES}]" if written.thousands == " " else re.escape(written.thousands)
        bare = "[0-9]+" if ungrouped else "[0-9]{1,3}"
        whole = rf"(?:[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+|{bare})"
    number = rf"(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    if not fraction:
        number = whole
    if not written.affix:
        return rf"^(?:{_SIGN}{number}|{_SPECIAL})$"
    affix, space = re.escape(written.affix), f"[{SPACES}]?"
    return (
        rf"^(?:{_SIGN}{affix}{space}{number}|{affix}{space}{_SIGN}{number}|"
        rf"{_SIGN}{number}{space}{affix}|"
        rf"\({affix}{space}{number}\)|\({number}{space}{affix}\))$"
    )


def is_number(text: str, written: TextFormat | None) -> bool:
    """Whether a text is a number so written."""
    return re.match(pattern(written), text) is not None


def plain_number(text: str, written: TextFormat | None) -> str:
    """Return a number so written as Python and Arrow read it.

    Example:
        >>> plain_number("-1.234,5", TextFormat(column="x", decimal=",", thousands="."))
        '-1234.5'
    """
    for found, put in rewriting(written):
        text = re.sub(found, put, text)
    return text


@functools.lru_cache(maxsize=256)
def rewriting(written: TextFormat | None) -> tuple[tuple[str, str], ...]:
    """Return what `re.sub` replaces one after another in a number so written, to make it plain."""
    steps = [(MINUS, "-")]
    if written and written.affix:
        steps += [
            (rf"^(.*?){re.escape(written.affix)}", r"\1"),
            (rf"^[{SPACES}]+|[{SPACES}]+$", ""),
            (rf"^\([{SPACES}]*(.*?)[{SPACES}]*\)$", r"-\1"),
        ]
    if written and written.thousands:
        group = f"[{SPACES}]" if written.thousands == " " else re.escape(written.thousands)
        steps.append((group, ""))
    if written and written.decimal != ".":
        steps.append((re.escape(written.decimal), "."))
    return tuple(steps)


def affix_of(text: str) -> str:
    """Return what stands with a number that could be written in any way, empty for nothing."""
    if is_number(text, None):
        return ""
    return re.sub(rf"[0-9.,'()+{MINUS}{SPACES}-]", "", text)


def example_format(column: str, example: str, *, where: str) -> TextFormat:
    """Return how numbers are written, from an example with groups, a decimal mark, or both.

    Raises:
        InputError: If the example is no number.

    Example:
        >>> example_format("x", "1.234,5", where="source").thousands
        '.'
    """
    affix = affix_of(example)
    marks = re.findall(f"[.,'{SPACES}]", example.replace(affix, "").strip(SPACES))
    single = len(set(marks)) == 1
    grouping = single and re.search(r"(?<![0-9])[1-9][0-9]{0,2}(?:\D[0-9]{3})+\D*$", example)
    last = marks[-1] if marks and marks[-1] in ".," and not grouping else ""
    groups = {" " if mark in SPACES else mark for mark in marks if mark != last}
    thousands = next(iter(groups), "")
    decimal = "," if last == "," or (not last and thousands == ".") else "."
    written = TextFormat(column=column, decimal=decimal, thousands=thousands, affix=affix)
    if len(groups) > 1 or not is_number(example, written):
        raise InputError(
            f"{example!r:.80} shows neither how a number nor how a time is written",
            where=f"{where}: formats: {column}",
            remedy="Give a number such as 1.234,5 or 1,234.5, or a time as in strptime such as "
            "%d/%m/%Y.",
        )
    return written


def example_of(written: TextFormat) -> str:
    """Return an example from which `example_format` gives the same way of writing.

    Example:
        >>> example_of(TextFormat(column="x", decimal=",", thousands="."))
        '1.234,5'
    """
    space = " " if written.affix.isalpha() else ""
    return f"1{written.thousands}234{written.decimal}5{space}{written.affix}"


def plain_numbers(
    texts: pa.Array, written: TextFormat | None, *, codes: bool, ungrouped: bool
) -> pa.Array:
    """Return numbers so written as Arrow's own cast reads them.

    Args:
        texts: The numbers, null where missing.
        written: How they are written.
        codes: Numbers with leading zeros are taken.
        ungrouped: See `pattern`.

    Raises:
        ValueError: If a text is no number so written.
    """
    import pyarrow.compute as pc

    if not codes and pc.any(pc.match_substring_regex(texts, pattern=CODE)).as_py():
        raise ValueError("a leading zero before more digits")
    expression = pattern(written, ungrouped=ungrouped)
    if pc.all(pc.match_substring_regex(texts, pattern=expression)).as_py() is False:
        raise ValueError("a text is no number of this form")
    if written is None:
        return _ascii_signs(texts)
    if written.affix:
        texts = pc.replace_substring(texts, written.affix, "", max_replacements=1)
        texts = pc.utf8_trim(texts, characters=SPACES)
        texts = pc.replace_substring_regex(texts, rf"^\([{SPACES}]?(.*?)[{SPACES}]?\)$", r"-\1")
    if written.thousands == " ":
        texts = pc.replace_substring_regex(texts, f"[{SPACES}]", "")
    elif written.thousands:
        texts = pc.replace_substring(texts, written.thousands, "")
    if written.decimal != ".":
        texts = pc.replace_substring(texts, written.decimal, ".")
    return _ascii_signs(texts)


def _ascii_signs(texts: pa.Array) -> pa.Array:
    """Return texts with an ASCII minus and without a plus sign, which Arrow's cast refuses."""
    import pyarrow.compute as pc

    if pc.any(pc.match_substring_regex(texts, pattern=f"^[+{MINUS}]")).as_py():
        texts = pc.replace_substring_regex(texts, f"^{MINUS}", "-")
        texts = pc.replace_substring_regex(texts, r"^\+([0-9.])", r"\1")
    return texts
