"""What a project's own factory makes: found, imported and called, its errors put into words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstock.errors import InputError, PenstockError
from penstock.own_code import importing, libraries
from penstock.own_code.project_code import code_of
from penstock.own_code.reads import refused_reads
from penstock.own_code.reference import CodeSpec, Reference
from penstock.records.model import OwnCode


@dataclass(frozen=True)
class Made:
    """What a factory made.

    Args:
        reference: What the project file names.
        code: The code that it is of; it has been adopted in this process.
        made: The object.
    """

    reference: str
    code: OwnCode
    made: Any


def make(reference: str, spec: CodeSpec | None) -> Made:
    """Call what a project file names.

    Args:
        reference: `package.module:name`.
        spec: Which code is meant.

    Raises:
        InputError: If the code is not there, cannot be imported, imports what is not installed, or
            raises.
        IntegrityError: If the code is not the one that the run was ordered with.
    """
    named = Reference.of(reference)
    sources = code_of([named], spec)
    code = OwnCode(
        digest=sources.digest,
        files=tuple(sources.files),
        libraries=libraries.libraries_of(sources),
    )
    with refused_reads(reference):
        factory = importing.found(sources, named)
    with reported(reference, "calling it"):
        return Made(reference, code, factory())


@contextlib.contextmanager
def reported(reference: str, what: str) -> Iterator[None]:
    """Turn what the project's own code raises into an error that says where.

    Raises:
        InputError: If it raises anything but an error of Penstock's, or reads a file that a
            server would not have.
    """
    try:
        with refused_reads(reference):
            yield
    except PenstockError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{what} raises {type(error).__name__}: {error!s:.300}",
            where=reference,
            remedy="Correct the project's code.",
        ) from error


def kind(made: Any) -> str:
    """Return what an object is, in words."""
    return f"the class {made.__name__}" if isinstance(made, type) else f"a {type(made).__name__}"
