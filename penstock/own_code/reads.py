"""Files that the project's own code reads while it is tried, and that no server would have.

A model carries the source files of its package and nothing else. What libraries bring and the
system's own files are everywhere; a file that was made meanwhile is the code's own; a library that
is being imported may read its settings where it likes; and a warning quotes the line it comes from.
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from penstock.errors import InputError
from penstock.own_code.importing import is_of_own_code

_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64")
_IMPORT = "<frozen importlib"
_QUOTES = "linecache"

_GRAIN = 0.05
"""Seconds by which a file's own clock may be behind ours."""


@dataclass
class _Watch:
    """What is not to be read, and since when it is looked for."""

    since: float
    found: list[str] = field(default_factory=list)


_watching: dict[int, _Watch] = {}
"""By thread."""


@contextlib.contextmanager
def refused_reads(reference: str) -> Iterator[None]:
    """Refuse what the block reads and a server would not have.

    Python tells of every file that it opens (https://docs.python.org/3/library/audit_events.html);
    looked at are those of this thread. Of files that a library opens by itself it does not.

    Args:
        reference: What the project file names.

    Raises:
        InputError: If such a file was read, at the end of the block, whether it ends well or not.

    Example:
        >>> with refused_reads("churn.models:make"):
        ...     text = Path(os.devnull).read_text()
        >>> text
        ''
    """
    _hook()
    me = threading.get_ident()
    outer, watch = _watching.get(me), _Watch(time.time() - _GRAIN)
    _watching[me] = watch
    cause: Exception | None = None
    try:
        yield
    except Exception as error:
        cause = error
        if not watch.found:
            raise
    finally:
        if outer is None:
            del _watching[me]
        else:
            _watching[me] = outer
    if watch.found:
        raise InputError(
            f"it reads {watch.found[0]}, which would not be there where the model is served",
            where=reference,
            remedy="Write what it needs into a module of its package, or let fit learn it.",
        ) from cause


@cache
def _hook() -> None:
    """Add the hook; a process has it until it ends."""
    sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _watching:
        return
    watch = _watching.get(threading.get_ident())
    path, mode, flags = arguments
    if watch is None or not isinstance(path, str | bytes | os.PathLike):
        return
    reads = "r" in mode or "+" in mode if mode else flags & os.O_ACCMODE != os.O_WRONLY
    name = os.fsdecode(path)
    if reads and not _everywhere(name) and _was_there(name, watch.since) and not _by_python():
        watch.found.append(name)


def _everywhere(path: str) -> bool:
    whole = os.path.realpath(path)
    return any(whole == place or whole.startswith(f"{place}/") for place in _places())


@cache
def _places() -> tuple[str, ...]:
    libraries = [*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix]
    places = [*_SYSTEM, *libraries, str(Path(__file__).parents[1])]
    return tuple(sorted({os.path.realpath(place) for place in places}))


def _was_there(path: str, since: float) -> bool:
    try:
        return os.stat(path).st_ctime < since  # noqa: PTH116 - a path of any kind
    except OSError:
        return False


def _by_python() -> bool:
    """Return whether an import reads, or a warning that quotes a line, and not the project's."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_filename.startswith(_IMPORT) or name == _QUOTES:
            return True
        if is_of_own_code(name):
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return False
