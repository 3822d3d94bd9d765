"""What can go wrong, said so that a reader knows what, where and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.redaction import redact


class PenstockError(Exception):
    """A failure that its reader can act on. It quotes no secret, whatever it is made from.

    Args:
        what: What is wrong, with the offending value.
        where: The file, field, column or address it was found at.
        remedy: What to do about it, as an imperative sentence.

    Example:
        >>> print(PenstockError("no column 'age'", where="people.csv", remedy="Name another."))
        people.csv: no column 'age'. Name another.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = redact(what)
        self.where = redact(where)
        self.remedy = redact(remedy)
        super().__init__(self.what, self.where, self.remedy)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with what is in `args`, which its keywords do not take.
        return _again, (type(self), self.args), dict(self.__dict__)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.what.rstrip('.')}.{advice}"


def _again(kind: type[PenstockError], given: tuple[Any, ...]) -> PenstockError:
    return kind.__new__(kind, *given)


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


def absent_column(
    name: str, columns: Iterable[str], *, where: str, table: str = "the table"
) -> InputError:
    """Return the error for a setting that names a column which is not there.

    Args:
        name: What the setting says.
        columns: What there is; the message names what is spelt alike, and then all.
        where: The setting.
        table: What has no such column.
    """
    there = list(columns)
    alike = {column.casefold().strip(): column for column in there}
    close = [alike[key] for key in difflib.get_close_matches(name.casefold().strip(), alike, n=3)]
    guess = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    return InputError(
        f"{table} has no column {name!r}",
        where=where,
        remedy=f"{guess}Its columns are: {', '.join(there)}.",
    )


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

    def __reduce__(self) -> tuple[Any, ...]:
        again, given, fields = super().__reduce__()
        # An ImportError keeps it beside its fields.
        return again, given, fields | {"name": self.name}


class IntegrityError(PenstockError):
    """An artifact is not the one that a record speaks of."""


class NotApprovedError(PenstockError):
    """A step that needs an approving decision was not given one."""


class ServiceError(PenstockError):
    """A service (registry, store, server, webhook) did not answer as it must."""


class LeaseLostError(ServiceError):
    """Another controller has taken a service over; whoever sees this must not act on it again."""


class UnrecordedError(ServiceError):
    """What was to be written down before it is done could not be written down."""
