"""The error where a file of a rollout or of a local service cannot be written."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from penstock.errors import ServiceError

_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space, then give the command again.",
    errno.EDQUOT: "The disk quota is used up: free some space, then give the command again.",
    errno.EROFS: "The file system is read-only: name another home with PENSTOCK_HOME.",
    errno.EACCES: "Give this user the right to write there, then give the command again.",
    errno.EPERM: "Give this user the right to write there, then give the command again.",
}


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Run a block that writes a file or an address; what the system refuses is a `ServiceError`.

    Raises:
        ServiceError: If it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise ServiceError(
            f"it cannot be written: {error.strerror or error}",
            where=str(path),
            remedy=_REMEDIES.get(error.errno or 0, "Correct that, then run the command again."),
        ) from error
