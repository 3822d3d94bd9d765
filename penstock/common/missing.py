"""What an import says of a library that is not installed: which extra brings it.

Penstock imports its libraries where they are used, so that an environment needs only those of what
it does. Whichever module of ours imports it, and whenever, the message is the same.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType

from penstock.errors import MissingLibraryError

_PACKAGE = __name__.partition(".")[0]
_COMPOSING = frozenset({"kfp", "kfp_kubernetes", "kfp_server_api", "kubernetes", "rich", "urllib3"})

_ALONE = {
    "dask": "dask",
    "deltalake": "delta",
    "distributed": "dask",
    "dvc": "dvc",
    "lightgbm": "boosting",
    "pyiceberg": "iceberg",
    "xgboost": "boosting",
}
"""Libraries that come with an extra of their own and not with `laptop`."""

# What runs an import statement and `importlib.import_module`, by the names that it has before and
# after `importlib` is imported. Not `importlib.util`: who calls that checks whether there is one.
_MACHINERY = frozenset({"_frozen_importlib", "importlib._bootstrap", "importlib"})


class MissingLibraries:
    """The last finder: a library that reaches it is not installed.

    It answers imports written in Penstock alone. Other libraries look for what they can do without,
    and must not get a message on our extras.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        """Raise the error if a module of Penstock imports the library; else find nothing.

        Raises:
            MissingLibraryError: If so.
        """
        del path, target
        if "." not in name and _asks(sys._getframe(1)) == _PACKAGE:
            raise MissingLibraryError(name, extra=_extra(name))


def tell_of_missing_libraries() -> None:
    """Add the finder behind all others, for every import from now on."""
    if MissingLibraries not in sys.meta_path:
        sys.meta_path.append(MissingLibraries)


def _extra(name: str) -> str:
    """Return the extra that brings a library and what a person does with it."""
    return _ALONE.get(name) or ("pipelines" if name in _COMPOSING else "laptop")


def _asks(frame: FrameType | None) -> str:
    """Return the top-level package whose code holds the import; empty if it cannot be known."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name not in _MACHINERY:
            return name.partition(".")[0]
        frame = frame.f_back
    return ""
