"""Source files imported under a name that holds their digest.

The package `churn` of code with the digest sha256:ab12... is the module
`penstock_own_ab12....churn`. So the types in a model's file name the very code that trained it, two
versions of one package live side by side in a process (the gate compares a candidate with the
champion), and no package that is installed or lies about under the same name can take its place.
The files are held in memory: what was digested is what runs, no bytecode is read or left behind,
and the folder may be gone later.

Inside of the files `import churn` means this code: their builtins have an `__import__` that says so
(https://docs.python.org/3/reference/import.html). A module that lies about, in the working folder
for example, is not found by them, also where an import stands in a `try`.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from penstock.errors import InputError
from penstock.own_code.libraries import is_library
from penstock.own_code.reference import Reference
from penstock.own_code.sources import Sources

_PREFIX = "penstock_own_"
_DIGITS = 32


def prefix(digest: str) -> str:
    """Return the name under which code of a digest is imported.

    Example:
        >>> prefix("sha256:" + 64 * "a")
        'penstock_own_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    """
    return _PREFIX + digest.removeprefix("sha256:")[:_DIGITS]


def adopt(sources: Sources) -> None:
    """Let code be imported under the name of its digest."""
    _FINDER.packages[prefix(sources.digest)] = sources
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def adopted(digest: str) -> Sources:
    """Return code that `adopt` was given in this process.

    Raises:
        KeyError: If it was not.
    """
    return _FINDER.packages[prefix(digest)]


def found(sources: Sources, reference: Reference) -> Any:
    """Return what a reference names in code, which is imported for it.

    Raises:
        InputError: If the module raises while it is imported, or does not have it.
    """
    adopt(sources)
    try:
        module = importlib.import_module(f"{prefix(sources.digest)}.{reference.module}")
    except (Exception, SystemExit) as error:  # A script may end itself: the step would end well.
        raise InputError(
            f"importing {reference.module} raises {type(error).__name__}: {error!s:.300}",
            where=str(reference),
            remedy="Correct the code: a module must be importable by itself.",
        ) from error
    try:
        return getattr(module, reference.name)
    except AttributeError:
        raise InputError(
            f"{reference.module} has no {reference.name}",
            where=str(reference),
            remedy="Correct the name in the project file.",
        ) from None


def is_own(kind: str, digest: str) -> bool:
    """Return whether the name of a type is one of code with this digest."""
    return bool(digest) and kind.startswith(f"{prefix(digest)}.")


def is_of_own_code(module: str) -> bool:
    """Return whether a module is code of a project, of whatever digest."""
    return module.startswith(_PREFIX)


class _Finder(MetaPathFinder):
    """Finds modules of adopted code."""

    def __init__(self) -> None:
        self.packages: dict[str, Sources] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of adopted code comes from; None for every other name."""
        del path, target
        top, _, inner = fullname.partition(".")
        sources = self.packages.get(top)
        if sources is None:
            return None
        if not inner:
            return ModuleSpec(fullname, _Loader(sources, "", b""), is_package=True)
        place = inner.replace(".", "/")
        for name, package in ((f"{place}/__init__.py", True), (f"{place}.py", False)):
            if name in sources.files:
                loader = _Loader(sources, name, sources.files[name])
                return ModuleSpec(fullname, loader, origin=name, is_package=package)
        if any(name.startswith(f"{place}/") for name in sources.files):
            return ModuleSpec(fullname, _Loader(sources, place, b""), is_package=True)
        return None


class _Loader(InspectLoader):
    """Runs one source file that is held in memory."""

    def __init__(self, sources: Sources, name: str, content: bytes) -> None:
        self._sources, self._name, self._content = sources, name, content

    def get_source(self, fullname: str) -> str:
        """Return the text, which tracebacks quote."""
        del fullname
        return importlib.util.decode_source(self._content)

    def get_code(self, fullname: str) -> CodeType:
        """Return the text compiled, under its name in the project's folder."""
        del fullname
        return compile(self._content, self._name or "<code>", "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        """Return whether it holds other modules."""
        del fullname
        return not self._name.endswith(".py") or self._name.endswith("/__init__.py")

    def exec_module(self, module: ModuleType) -> None:
        """Run it, its own packages being those of the same digest."""
        module.__dict__["__builtins__"] = {
            **vars(builtins),
            "__import__": _importer(prefix(self._sources.digest), self._sources.tops),
        }
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102 - code of the project


def _importer(own: str, tops: frozenset[str]) -> Any:
    """Return an `__import__` to which the project's packages are those of the same digest."""

    def importer(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - by these names Python gives them
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in tops:
            if not level and not is_library(top):
                # It may lie about here, but would not where the model is served.
                raise ModuleNotFoundError(
                    f"{name} is of no installed library and not in the project's package", name=name
                )
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = builtins.__import__(f"{own}.{name}", globals, locals, fromlist or (), 0)
        return module if fromlist else sys.modules[f"{own}.{top}"]

    return importer


_FINDER = _Finder()
