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


class Validation(Record):
    """The result of an expectation suite and the schema checks on one dataset."""

    KIND: ClassVar[str] = "validation"

    dataset: str = Field(description="Content digest of the dataset that was checked")
    suite: str = Field(description="Digest of the expectation suite")
    rows: int
    passed: bool = Field(description="True when no finding of severity block failed")
    findings: tuple[Finding, ...]

    def failures(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity that did not pass."""
        return tuple(f for f in self.findings if not f.passed and f.severity == severity)

    def reason(self) -> str:
        """Return in one or two sentences why the data passed or did not."""
        failed = self.failures("block")
        looked = any(finding.check.startswith("expect_") for finding in self.findings)
        only = "" if looked else " There were no expectations: only the schema was checked."
        if self.passed:
            broken = [(word, len(self.failures(word))) for word in ("warn", "info")]
            held = len(self.findings) - sum(count for _, count in broken)
            also = "".join(f"; {count} failed ({word})" for word, count in broken if count)
            return f"The data passed: {_checks(held)} hold{'s' * (held == 1)}{also}.{only}"
        more = f" And {len(failed) - 3} more." if len(failed) > 3 else ""
        return (
            f"The data failed {_checks(len(failed))}: "
            + " ".join(finding.sentence for finding in failed[:3])
            + more
            + only
        )


def _checks(number: int) -> str:
    return f"{number} check" if number == 1 else f"{number} checks"
