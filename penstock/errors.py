"""The errors of Penstock: each says what is wrong, where, and what to do (docs/errors.md)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.redaction import redact


class PenstockError(Exception):
    """A failure that its reader can act on. It quotes no secret, whatever it is made from.

    Raised when:
        Never itself; catch it to catch all of them.

    What to do:
        The message says what is wrong, where, and what to do.

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
    """Data, a file or a setting from outside cannot be used.

    Raised when:
        A table, project file, policy, record or argument is missing, cannot be read, or holds a
        value that is not allowed.

    What to do:
        Correct what the message names and run the command again. Nothing half-written is left.
    """


class ReadingError(InputError):
    """A source cannot be read as it is, but could be with other settings.

    Raised when:
        The table does not fit the section `source`: another delimiter, encoding or column type.

    What to do:
        Write the proposed settings into the section `source`; `penstock init` does so itself.

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
    """A command was given an argument that it cannot use.

    Raised when:
        An option or argument of the command line is wrong, missing or does not go with another.

    What to do:
        Correct the command: its `--help` lists its options.
    """


class MissingLibraryError(InputError, ModuleNotFoundError):
    """A library that a part of Penstock uses is not installed.

    Raised when:
        A command or step needs a library of an extra that was not installed.

    What to do:
        Install the extra that the message names.

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
        self.extra = extra

    def __reduce__(self) -> tuple[Any, ...]:
        again, given, fields = super().__reduce__()
        # An ImportError keeps it beside its fields.
        return again, given, fields | {"name": self.name}


class FormerNameWarning(UserWarning):
    """A setting was written under the name that an earlier release gave it; it is read."""


class IntegrityError(PenstockError):
    """An artifact is not the one that a record names by its digest.

    Raised when:
        Files, tags, records or the champion alias were changed after they were written, or a
        decision is used with another model, policy or dataset than it was made on.

    What to do:
        See `penstock audit` and `penstock verify`. Restore what was changed, or release again.
    """


class NotApprovedError(PenstockError):
    """A model may not be registered or served: no decision or no person approves it.

    Raised when:
        The gate refused the model, the decision is of another model, an approval that the policy
        requires is missing, or somebody rejected the version.

    What to do:
        Read the decision's page. Improve the model or the policy, or approve the version with
        `penstock approve`.
    """


class UntrustedError(PenstockError):
    """A model is not vouched for by the keys that its server is to trust.

    Raised when:
        The model is not signed, was altered, is signed by a key that is withdrawn or not trusted,
        its signed decision is absent, of other files or no approval, or the keys cannot be read.

    What to do:
        The message names version and key. Sign the version with `penstock sign`, or serve another.
    """


class ServiceError(PenstockError):
    """A service (registry, store, server, cluster, webhook) did not respond as it must.

    Raised when:
        It cannot be reached, does not respond in time, denies access, or responds with an error.

    What to do:
        Check that the service is up and that this account may use it, then run the command again.
    """


class CapacityError(ServiceError):
    """A version did not get the servers that its share of the requests takes.

    Raised when:
        A quota, the nodes or an autoscaler do not give them in time. No traffic was moved.

    What to do:
        The message has the reason of the first server that is missing. Give the namespace room, or
        lower `deployment.kserve.autoscaling.max_replicas`; then release again.
    """


class LeaseLostError(ServiceError):
    """Another controller has taken over the service; this one must stop acting on it.

    Raised when:
        A second command works on the same service while this one was delayed or stopped.

    What to do:
        Nothing: the other controller continues. See `penstock status`.
    """


class UnrecordedError(ServiceError):
    """A step of a rollout could not be recorded, so it was not done.

    Raised when:
        The disk or the cluster does not store the rollout's journal.

    What to do:
        Make room or restore access, then run `penstock rollout resume`.
    """
