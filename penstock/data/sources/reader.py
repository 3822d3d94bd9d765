"""What a reader of one kind of source gets, must do, and raises to be called again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from penstock.data.types.value import TypeMismatch
from penstock.errors import InputError
from penstock.records.dataset import Assumption, Reading

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "parquet", "jsonl"]

Settled: TypeAlias = dict[str, str]
"""How each column is read, in a reader's own words: where they are equal, so are the values."""


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


class FoundFile:
    """A file that a source names, which is not on this machine yet, or was not looked at.

    Args:
        key: Its name in the source: the same in every version of it.
        mark: Returns what is another text as soon as its content is another; empty: nothing says.
        take: Brings it here.
    """

    def __init__(
        self, key: str, *, mark: Callable[[], str], take: Callable[[], SourceFile]
    ) -> None:
        self.key = key
        self.mark = mark
        self._take = take
        self._taken: SourceFile | None = None

    @property
    def is_here(self) -> bool:
        """Whether it was taken."""
        return self._taken is not None

    def taken(self) -> SourceFile:
        """Return it on this machine; asked again, the same."""
        if self._taken is None:
            self._taken = self._take()
        return self._taken


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


class ContinuingReader(Reader, Protocol):
    """A reader of files that can leave out those whose rows were read before."""

    def batches(self, without: Collection[str] = ()) -> Iterator[pa.RecordBatch]:
        """Yield the rows, as `Reader.batches` does, but those of the files of these names."""

    def settled(self) -> Settled | None:
        """Return what was settled of how the rows are read; None: it depends on all of them."""

    def continues(self, before: Settled) -> bool:
        """Return whether all files together are read as those before were, and read them so.

        Asked after `infer`, which saw the first file of all and those that are new.
        """


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
