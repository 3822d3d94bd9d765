"""What a validation found."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from penstock.records.base import Record, Value

_OLDER = {"error": "block"}


def _read_older(word: object) -> object:
    """Return the present name for one that an older record has."""
    return _OLDER.get(word, word) if isinstance(word, str) else word


Severity = Annotated[Literal["block", "warn", "info"], BeforeValidator(_read_older)]


class Finding(Value):
    """One check and its result."""

    check: str = Field(description="The expectation's type, or schema_missing, schema_extra, …")
    column: str = ""
    severity: Severity
    passed: bool
    sentence: str = Field(description="The result in words")
    kwargs: dict[str, Any] = Field(default_factory=dict)
    checked: int | None = Field(default=None, description="Values checked")
    unexpected: int | None = Field(default=None, description="Values that broke the expectation")
    samples: tuple[str, ...] = Field(default=(), description="At most 20 of those, as text")
    quarantined: int | None = Field(
        default=None, description="Rows that broke it and were quarantined for it, among others"
    )

    @property
    def failed(self) -> bool:
        """Whether it was broken by rows that are still among the data."""
        return not self.passed and self.quarantined is None


class Quarantine(Value):
    """The rows that were taken out of the data, or would have to be."""

    rows: int = Field(description="Rows that break a check of single rows")
    of: int = Field(description="Rows of the data")
    max_share: float = Field(description="The largest share that may be quarantined")
    kept: str = Field(default="", description="Content digest of the rows that went on")
    content: str = Field(
        default="", description="Content digest of the quarantined rows, with their reasons"
    )

    @property
    def share(self) -> float:
        """The share of the rows."""
        return self.rows / self.of

    @property
    def refused(self) -> bool:
        """Whether these are more than may be quarantined."""
        return self.share > self.max_share

    def sentence(self) -> str:
        """Return how many rows were quarantined, or why none were."""
        counted = f"{self.rows:,} of {self.of:,} rows ({_percent(self.share)})"
        most = _percent(self.max_share)
        if self.refused:
            return f"{counted} break checks of single rows; at most {most} may be quarantined."
        if not self.kept:
            return f"{counted} would be quarantined, but the rest does not pass."
        return f"{counted} were quarantined; {self.of - self.rows:,} rows went on."


def _percent(share: float) -> str:
    # Six digits, so that no share looks like a bound that it is not.
    return f"{100 * share:.6g} %"


class Unchanged(Record):
    """Stands in the place of a dataset: all rows of another one went on, and none was taken out."""

    KIND: ClassVar[str] = "unchanged"

    dataset: str = Field(description="Content digest of the dataset that goes on as it is")


class Validation(Record):
    """The result of an expectation suite and the schema checks on one dataset."""

    KIND: ClassVar[str] = "validation"

    dataset: str = Field(description="Content digest of the dataset that was checked")
    suite: str = Field(description="Digest of the expectation suite")
    rows: int
    passed: bool = Field(description="True when no finding of severity block failed")
    findings: tuple[Finding, ...]
    quarantine: Quarantine | None = Field(
        default=None, description="Rows that were taken out of the data; none where none were"
    )
    settings: dict[str, Any] | None = Field(
        default=None,
        description="What was checked, where rows were quarantined: `contract`, `expectations` and "
        "`options`, defaults left out",
    )

    def failures(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity that did not pass, but for quarantined rows."""
        return tuple(f for f in self.findings if f.failed and f.severity == severity)

    def reason(self) -> str:
        """Return in one or two sentences why the data passed or did not."""
        failed = self.failures("block")
        looked = any(finding.check.startswith("expect_") for finding in self.findings)
        only = "" if looked else " There were no expectations: only the schema was checked."
        if self.passed:
            broken = [(word, len(self.failures(word))) for word in ("warn", "info")]
            held = sum(not finding.failed for finding in self.findings)
            also = "".join(f"; {count} failed ({word})" for word, count in broken if count)
            apart = f" {self.quarantine.sentence()}" if self.quarantine else ""
            return f"The data passed: {_checks(held)} hold{'s' * (held == 1)}{also}.{apart}{only}"
        more = f" And {len(failed) - 3} more." if len(failed) > 3 else ""
        return (
            f"The data failed {_checks(len(failed))}: "
            + " ".join(finding.sentence for finding in failed[:3])
            + more
            + (f" {self.quarantine.sentence()}" if self.quarantine else "")
            + only
        )


def _checks(number: int) -> str:
    return f"{number} check" if number == 1 else f"{number} checks"
