"""What can go wrong with the disk that is written to."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from penstock.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """Turn a full disk, or a folder that may not be written, into words.

    Raises:
        InputError: In these two cases.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise InputError(
                "no space left on the disk while writing the dataset; nothing was kept",
                where=str(output),
                remedy="Free space or name an output on another disk.",
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise InputError(
                f"the output cannot be written: {error.strerror}",
                where=str(output),
                remedy="Name a folder that you may write to.",
            ) from error
        raise
