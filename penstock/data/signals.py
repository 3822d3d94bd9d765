"""What readers tell the driver: begin again, knowing more. Never shown to a user."""

from __future__ import annotations

from penstock.data.source_file import SourceFile


class Misfit(Exception):  # noqa: N818 - no error to show
    """A value does not have the type its column was given."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


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
