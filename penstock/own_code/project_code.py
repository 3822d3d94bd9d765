"""The code that a project file names, as a step finds it: on this machine, or in its image."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from penstock.errors import InputError, IntegrityError
from penstock.own_code.reference import CodeSpec, Reference
from penstock.own_code.sources import Sources, find

IN_IMAGES = "/opt/penstock/code"
"""Where the images look, unless PENSTOCK_CODE names another folder."""


def code_of(references: Collection[Reference], spec: CodeSpec | None) -> Sources:
    """Return the source files that references name.

    Args:
        references: At least one.
        spec: Where they are, and the digest that they had when the run was ordered; None: where an
            image has them.

    Raises:
        InputError: See `penstock.own_code.sources.find`.
        IntegrityError: If they have another digest.
    """
    given = spec if spec is not None else CodeSpec()
    folder = Path(given.folder or os.environ.get("PENSTOCK_CODE") or IN_IMAGES)
    if not folder.is_dir():
        raise InputError(
            f"there is no folder with the project's own code, which {_named(references)} needs",
            where=str(folder),
            remedy=f"Copy the package into the image that runs this step, to {IN_IMAGES}: see "
            "docs/own-code.md.",
        )
    sources = find(references, folder=folder, packages=given.packages)
    if given.digest and sources.digest != given.digest:
        raise IntegrityError(
            f"the project's own code has the digest {sources.digest} here, and had {given.digest} "
            "when the run was ordered",
            where=str(folder),
            remedy="Build the image again with the code that the pipeline was compiled with, or "
            "compile and submit again.",
        )
    return sources


def _named(references: Collection[Reference]) -> str:
    return ", ".join(str(reference) for reference in references)
