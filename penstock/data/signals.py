"""What readers tell the driver: begin again, knowing more. Never shown to a user."""

from __future__ import annotations

from penstock.data.sources import SourceFile


class Misfit(Exception):  # noqa: N818 - no error to show
    """A value does not have the type its column was given."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class NotUtf8(Exception):  # noqa: N818 - no error to show
    """Bytes taken for UTF-8 are not."""

    def __init__(self, file: SourceFile, sample: bytes) -> None:
        super().__init__()
        self.file = file
        self.sample = sample
