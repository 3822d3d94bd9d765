"""What can go wrong, said so that a reader knows what, where and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PenstockError(Exception):
    """A failure that its reader can act on.

    Args:
        what: What is wrong, with the offending value.
        where: The file, field, column or address it was found at.
        remedy: What to do about it, as an imperative sentence.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what, where, remedy)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.what.rstrip('.')}.{advice}"


class InputError(PenstockError):
    """Data, a file or a setting that came from outside is not usable."""


class ReadingError(InputError):
    """A source cannot be read as it is, but could be with other settings.

    Args:
        what: What is wrong, with the offending value.
        where: The file, line and column.
        remedy: What to do about it.
        proposal: Settings of `source` with which it can be read, for `penstock init` to propose.
    """

    def __init__(
        self, what: str, *, where: str = "", remedy: str = "", proposal: Mapping[str, Any]
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.proposal = dict(proposal)


class UsageError(InputError):
    """A command was given something that it cannot use."""


class MissingLibraryError(InputError, ModuleNotFoundError):
    """A library that a part of Penstock uses is not installed.

    Args:
        library: The module that was to be imported.
        extra: The extra of the distribution `penstock` that brings it.
        where: What needs it.
    """

    def __init__(self, library: str, *, extra: str, where: str = "") -> None:
        super().__init__(
            f"{library} is not installed",
            where=where,
            remedy=f"Install it with: pip install 'penstock[{extra}]'",
        )
        self.library = self.name = library


class IntegrityError(PenstockError):
    """An artifact is not the one that a record speaks of."""


class NotApprovedError(PenstockError):
    """A step that needs an approving decision was not given one."""


class ServiceError(PenstockError):
    """A service (registry, store, server, webhook) did not answer as it must."""


class LeaseLostError(ServiceError):
    """Another controller has taken a service over; whoever sees this must not act on it again."""
