"""Addresses of tables and repositories that are paths on this machine."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from penstock.common.secrets import is_reference

_LOCAL = ("file://", "local://")
_VERSIONED = ("delta://", "dvc://")
"""Of sources that keep versions: a folder of this machine."""


def is_local(uri: str) -> bool:
    """Return whether an address is a path on this machine; one reference may be anything."""
    return ("://" not in uri and not is_reference(uri)) or uri.startswith(_LOCAL)


def local_path(uri: str) -> str:
    """Return the path that a local address means.

    `file:///data/a%20b.csv` and `file://localhost/data/a%20b.csv` are `/data/a b.csv`; a text
    without a scheme is a path as it stands.
    """
    scheme, mark, path = uri.partition("://")
    if not mark or f"{scheme}{mark}" not in _LOCAL:
        return uri
    return unquote(path.removeprefix("localhost") if path.startswith("localhost/") else path)


def is_versioned_folder(uri: str) -> bool:
    """Return whether an address is a table or a repository with versions in a local folder."""
    return uri.startswith(_VERSIONED)


def versioned_folder(uri: str, *, folder: Path) -> str:
    """Return such an address with an absolute path; any other one as it is.

    Args:
        uri: The address; behind `//` a path in the repository may stand.
        folder: Where a relative path begins.

    Example:
        >>> versioned_folder("dvc://loans//data/loans.csv", folder=Path("/projects"))
        'dvc:///projects/loans//data/loans.csv'
    """
    if not is_versioned_folder(uri):
        return uri
    scheme, _, rest = uri.partition("://")
    place, mark, inside = rest[1:].partition("//") if rest.startswith("/") else rest.partition("//")
    place = f"/{place}" if rest.startswith("/") else place
    return f"{scheme}://{(folder / place).resolve()}{mark}{inside}"
