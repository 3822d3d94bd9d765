"""Which installed libraries source files import, read from the files without running them."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata

from penstock.errors import InputError, IntegrityError
from penstock.own_code.sources import Sources

_GIVEN = frozenset(sys.stdlib_module_names) | {"penstock"}
_owners: dict[str, list[str]] = {}
"""The distributions that bring each package: to read of all takes a second."""


def libraries_of(sources: Sources) -> dict[str, str]:
    """Return the distributions that the files import, with their installed versions.

    What a file imports inside of a `try` may be absent, and does not count.

    Raises:
        InputError: If one is not installed, or comes from no installed package: no server would
            have it.
    """
    found: dict[str, str] = {}
    for name, content in sources.files.items():
        for top, line in _imported(ast.parse(content)):
            if top in sources.tops or top in _GIVEN:
                continue
            owner = _owner(top)
            if owner is None:
                raise InputError(
                    f"it imports {top}, {_why_not(top)}",
                    where=f"{name}, line {line}",
                    remedy=f"Install the library that has {top}, in the images too; code of the "
                    "project must lie in the package that the project file names.",
                )
            found[owner] = metadata.version(owner)
    return dict(sorted(found.items()))


def is_library(top: str) -> bool:
    """Return whether a package is Python's, Penstock, or an installed distribution's."""
    return top in _GIVEN or _owner(top) is not None


def _owner(top: str) -> str | None:
    """Return the distribution that brings a package; None if none does."""
    if top not in _owners:
        # Perhaps it was installed since.
        _owners.update(metadata.packages_distributions())
    return _owners[top][0] if top in _owners else None


def require(libraries: Mapping[str, str], *, where: str) -> None:
    """Return only if libraries are installed in the minor releases that are named.

    Raises:
        IntegrityError: If one is not, or in another one.
    """
    for name, version in libraries.items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise IntegrityError(
                f"its own code imports {name} {version}, which is not installed here",
                where=where,
                remedy="Use an image made from Penstock's that has the library.",
            ) from None
        if _minor(here) != _minor(version):
            raise IntegrityError(
                f"its own code was trained with {name} {version}, but {here} is installed",
                where=where,
                remedy="Use the release that trained it, or train again.",
            )


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _why_not(top: str) -> str:
    try:
        there = importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        there = False
    return "which no installed package brings" if there else "which is not installed here"


_Tries: tuple[type[ast.AST], ...] = (ast.Try, ast.TryStar)


def _imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the first part of each absolute import that is not inside of a `try`, and its line."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0], node.lineno
        elif not isinstance(node, _Tries):
            yield from _imported(node)
