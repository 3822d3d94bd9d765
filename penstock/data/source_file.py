"""A file to read, once it is on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Format = Literal["csv", "parquet", "jsonl"]


@dataclass(frozen=True)
class SourceFile:
    """A file to read, on this machine.

    Attributes:
        name: What to call it to people: the address it came from, without credentials.
        path: Where it is now.
        format: How to read it.
        compression: The suffix of its compression, or nothing.
    """

    name: str
    path: Path
    format: Format
    compression: str
