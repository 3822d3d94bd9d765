"""How a project file names a function or class of its own: `package.module:name`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints

from penstock.records.spec import Spec

_PATTERN = r"^([A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*)?$"

ReferenceText = Annotated[str, StringConstraints(pattern=_PATTERN)]
"""A field of the project file that holds a reference; empty: none."""


@dataclass(frozen=True)
class Reference:
    """A function or class of a project's own.

    Args:
        module: The module, for example `churn.models`.
        name: What it is called there.

    Example:
        >>> Reference.of("churn.models:make").top
        'churn'
    """

    module: str
    name: str

    @classmethod
    def of(cls, text: str) -> Reference:
        """Return what a text of the pattern `package.module:name` names."""
        module, _, name = text.partition(":")
        return cls(module, name)

    @property
    def top(self) -> str:
        """The package, or the module where it lies in none: what is packed with a model."""
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


class CodeSpec(Spec):
    """Which code the project meant. `penstock run` and `penstock compile` fill it in."""

    folder: str = Field(
        default="",
        description="Folder that holds the package; empty: what PENSTOCK_CODE names, which is "
        "/opt/penstock/code in an image",
    )
    packages: tuple[str, ...] = Field(
        default=(), description="All packages that the project names, which the digest covers"
    )
    digest: str = Field(
        default="", description="Digest that the code must have; empty: it is not compared"
    )
