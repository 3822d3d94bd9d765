"""The one function that takes secrets out of what is written, printed or raised: `redact`.

A secret is known in two ways. By its form: user and password in an address, a token in its query, a
webhook. And by its value: what this process has resolved or read as a secret (`keep`, `learn`) is
taken out wherever it occurs, as it is and as libraries quote it.

Errors of Penstock are redacted when they are made. From the first secret on that a process knows,
so is all that it prints and logs, by whatever library.
"""

from __future__ import annotations

import contextlib
import html
import json
import logging
import re
import sys
import traceback
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, TextIO
from urllib.parse import quote, quote_plus, unquote

from penstock.redaction.forms import REFERENCE, SHOWN, in_text

_LONG = 8
"""Characters from which a known secret is taken out of the middle of words too."""

_SHORT = 3
"""Characters from which it is taken out at all by its value: there is an `a` in every text."""

_USER = re.compile(rf"://[^/\s:@]*:{re.escape(SHOWN)}@")
"""A user whose password was taken out by its value."""

_known: set[str] = set()
_pattern: tuple[int, re.Pattern[str]] | None = None
"""What finds the known secrets, and how many they were: made when it is needed, as each of hundreds
of secrets makes it another."""


def redact(text: str) -> str:
    """Return a text with `***` in place of each secret.

    Args:
        text: A message, a line of a log, an address.

    Example:
        >>> redact("cannot reach http://me:hunter2@mlflow:5000/api")
        'cannot reach http://***@mlflow:5000/api'
    """
    return _hidden(_without_known(text), whole=False)


def redact_address(address: str) -> str:
    """Return an address that came from outside: also without values of its query, and fragment.

    What the query of an address of no known store means, and whether it is a secret, nobody knows.

    Args:
        address: For example `s3://bucket/table.parquet`, or a path.
    """
    address = _without_known(address)
    if "://" not in address:
        return redact(address)
    hidden = _hidden(address, whole=True)
    return re.sub(r"([?&][^=&]*)=[^&]*", rf"\1={SHOWN}", hidden.split("#")[0])


def keep(secret: str) -> None:
    """Take a secret out of everything from now on, by its value.

    Args:
        secret: As it is. It is also found percent-encoded, quoted and escaped.
    """
    new = {form for form in _forms(secret) if len(form) >= _SHORT} - _known
    if new and secret != SHOWN:
        _known.update(new)
    guard()


def learn(address: str, *, whole: bool = False) -> None:
    """Keep what is secret in an address or another setting.

    Args:
        address: The setting's value.
        whole: Whoever knows the address may use it, as a webhook: its path is a secret too.
    """
    for found in in_text(address, whole=True):
        if not found.what:
            continue
        secret = address[found.start : found.end]
        keep(secret)
        # Libraries take a password that is not encoded apart, and quote what they find.
        pieces = re.split(r"[@:/?#\s]", secret)
        for piece in pieces if len(pieces) > 1 else ():
            if len(piece) > _SHORT:
                keep(piece)
        if found.hidden < found.start:
            pair = unquote(address[found.hidden : found.end])
            keep(b64encode(pair.encode()).decode())
    if whole:
        _keep_path(address)


def _keep_path(address: str) -> None:
    rest = address.rpartition("://")[2]
    host, mark, path = rest.rpartition("@")[2].partition("/")
    if REFERENCE.search(address) or not path:
        return
    keep(f"{host}{mark}{path}")
    for part in (path, *re.split(r"[/?&=#]", path)):
        # A word like `services` reveals nothing.
        if len(part) >= _LONG and not part.isalpha():
            keep(part)


def _without_known(text: str) -> str:
    global _pattern
    if not _known:
        return text
    # Another thread may learn one meanwhile: what is used here, and kept, is what was seen here.
    found = _pattern
    if found is None or found[0] != len(_known):
        longest = sorted(_known, key=len, reverse=True)
        found = _pattern = (len(longest), re.compile("|".join(map(_literal, longest))))
    return found[1].sub(SHOWN, text)


def _hidden(text: str, *, whole: bool) -> str:
    parts, at = [], 0
    for found in in_text(text, whole=whole):
        if found.end > at:
            parts += [text[at : max(at, found.hidden)], SHOWN if found.hidden >= at else ""]
            at = found.end
    return _USER.sub(f"://{SHOWN}@", "".join([*parts, text[at:]]))


def _forms(secret: str) -> set[str]:
    """Return how libraries write a secret that they were given."""
    plain = {secret, unquote(secret)}
    encoded = {
        form
        for one in plain
        for form in (quote(one, safe=""), quote(one), quote_plus(one), quote(quote(one, safe="")))
    }
    lower = {re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in encoded}
    escaped = {
        form
        for one in plain
        for form in (
            repr(one)[1:-1],
            json.dumps(one)[1:-1],
            json.dumps(json.dumps(one))[3:-3],
            html.escape(one),
            # A text of several lines is quoted line by line.
            *(line for line in one.splitlines() if len(line) >= _LONG),
        )
    }
    return plain | encoded | lower | escaped


def _literal(secret: str) -> str:
    # A short one is part of many words that reveal nothing of it.
    escaped = re.escape(secret)
    return escaped if len(secret) >= _LONG else rf"(?<!\w){escaped}(?!\w)"


class _Guarded:
    """A text stream that writes what it is given without secrets."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(redact(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


def guard() -> None:
    """Let nothing be printed or logged by this process from now on but through `redact`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Guarded):
            setattr(sys, name, _Guarded(stream))
    if logging.getLogRecordFactory() is not _record:
        _factories.append(logging.getLogRecordFactory())
        logging.setLogRecordFactory(_record)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Guard what is printed for the time of a block, and leave the streams as they were."""
    before = sys.stdout, sys.stderr
    guard()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


_factories: list[Any] = []


def _record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    # A handler may hold a stream from before it was guarded.
    made: logging.LogRecord = _factories[0](*args, **kwargs)
    with contextlib.suppress(Exception):  # One that does not fit its arguments is reported later.
        message = made.getMessage()
        if redact(message) != message:
            made.msg, made.args = redact(message), ()
        if made.exc_info and made.exc_info[0] is not None:
            made.exc_text = redact("".join(traceback.format_exception(*made.exc_info)).rstrip())
    return made
