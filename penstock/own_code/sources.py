"""The source files of a project's own package: found, checked without being run, digested."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from penstock.common import files
from penstock.errors import InputError
from penstock.own_code.reference import Reference

MOST_FILES = 200
MOST_BYTES = 1_000_000
"""What a model carries of code at most: it travels to every server."""

_RESERVED = frozenset(sys.stdlib_module_names) | {"penstock"}


@dataclass(frozen=True)
class Sources:
    """Source files of one or more packages.

    Args:
        files: Content by name, relative to the folder that holds the packages, with `/`.
    """

    files: Mapping[str, bytes]

    @cached_property
    def digest(self) -> str:
        """Digest of names and contents: that of a folder which holds nothing else."""
        listing = {
            name: f"sha256:{hashlib.sha256(content).hexdigest()}"
            for name, content in self.files.items()
        }
        return files.digest_of_text(files.canonical_json(listing))

    @cached_property
    def tops(self) -> frozenset[str]:
        """The packages, and modules that lie in none."""
        return frozenset(name.partition("/")[0].removesuffix(".py") for name in self.files)

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    @classmethod
    def read(cls, folder: Path) -> Sources:
        """Return every file below a folder, for example `code` of a model.

        Raises:
            InputError: If the folder is not there.
        """
        if not folder.is_dir():
            raise InputError("the folder does not exist", where=str(folder))
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        return cls({path.relative_to(folder).as_posix(): path.read_bytes() for path in found})


def find(
    references: Collection[Reference], *, folder: Path, packages: Collection[str] = ()
) -> Sources:
    """Return the source files of the packages that references name.

    A package is taken with all of its `*.py`; a module that lies in none is taken alone.

    Args:
        references: What the project file names.
        folder: The project's folder, which holds the packages.
        packages: Further packages, that other fields of the project file name.

    Raises:
        InputError: If a package is not there, lies outside of the folder, is named like one of
            Python's own, is too large, or a file is no Python.
    """
    found: dict[str, bytes] = {}
    tops = {reference.top: str(reference) for reference in references}
    for top in sorted({*tops, *packages}):
        for path in _paths(top, folder=folder, named=tops.get(top, top)):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(
                    f"it leads out of the project's folder, to {path.resolve()}",
                    where=str(path),
                    remedy="Copy the code into the project's folder: what a model carries must lie "
                    "there.",
                )
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    for reference in references:
        _require_module(reference, found, folder=folder)
    size = sum(map(len, found.values()))
    if len(found) > MOST_FILES or size > MOST_BYTES:
        raise InputError(
            f"it has {len(found):,} source files of {size:,} bytes, and a model carries at most "
            f"{MOST_FILES:,} of {MOST_BYTES:,}",
            where=str(folder),
            remedy="Move what the model needs into a package of its own.",
        )
    for name, content in found.items():
        _check_syntax(name, content)
    return Sources(dict(sorted(found.items())))


def _paths(top: str, *, folder: Path, named: str) -> Iterator[Path]:
    if top in _RESERVED:
        raise InputError(
            f"{named} names a package of {'Penstock' if top == 'penstock' else 'Python'}",
            where=str(folder),
            remedy="Give the package of the project another name.",
        )
    package, module = folder / top, folder / f"{top}.py"
    if package.is_dir():
        for path in sorted(package.rglob("*.py")):
            inside = path.relative_to(package).parts
            if not any(part.startswith(".") or part == "__pycache__" for part in inside):
                yield path
    elif module.is_file():
        yield module
    else:
        raise InputError(
            f"{named} is not there: the folder has neither {top}/ nor {top}.py",
            where=str(folder),
            remedy="Put the code beside the project file. A class of an installed library is named "
            "by a function of your own that returns it.",
        )


def _require_module(reference: Reference, found: Collection[str], *, folder: Path) -> None:
    path = reference.module.replace(".", "/")
    if f"{path}.py" not in found and f"{path}/__init__.py" not in found:
        raise InputError(
            f"{reference} is not there: the folder has no {path}.py",
            where=str(folder),
            remedy="Correct the name in the project file.",
        )


def _check_syntax(name: str, content: bytes) -> None:
    try:
        compile(content, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(
            f"not Python: {getattr(error, 'msg', None) or error}",
            where=f"{name}, line {line}" if line else name,
            remedy="Correct the file.",
        ) from error
