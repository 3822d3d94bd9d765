"""What a reader of one kind of source gets, must do, and raises to be called again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError
from penstock.records.dataset import Assumption, Reading

if TYPE_CHECKING:
    import pyarrow as pa

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


class Reader(Protocol):
    """What a kind of source must do."""

    def infer(self, *, whole: bool) -> None:
        """Settle the columns' types, from the first rows or from all."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in these types; raise TypeMismatch where one does not hold.

        Raise Again where the rows come in another way from here on.
        """

    def explain(self, mismatch: TypeMismatch) -> InputError:
        """Return the message on a value that no inferred or declared type admits."""

    def adapt(self, found: Misread) -> None:
        """Read a text file from here on as it turned out to be written."""

    def notes(self) -> list[str]:
        """Return how the source was read."""

    def assumptions(self) -> list[Assumption]:
        """Return what was assumed of it that could be otherwise."""

    def reading(self) -> Reading | None:
        """Return how its texts were read, if it holds texts."""


class Again(Exception):  # noqa: N818 - no error to show
    """The reader reads otherwise from here on, from the beginning."""


class Misread(Exception):  # noqa: N818 - no error to show
    """A file is not written as its first bytes let expect."""

    def __init__(self, file: SourceFile) -> None:
        super().__init__()
        self.file = file


class NotUtf8(Misread):
    """Bytes taken for UTF-8 are not."""

    def __init__(self, file: SourceFile, sample: bytes) -> None:
        super().__init__(file)
        self.sample = sample


class Multiline(Misread):
    """A row goes on over several lines."""
