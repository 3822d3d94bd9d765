"""Addresses of tables that are paths on this machine."""

from __future__ import annotations

from urllib.parse import unquote

from penstock.common.secrets import is_reference

_LOCAL = ("file://", "local://")


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
