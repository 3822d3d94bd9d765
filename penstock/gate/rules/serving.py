"""How the candidate serves: latency, size, and that the server answers as the model does.

The policy calls it `operations`. `penstock.serving.probe` measures it, in a record of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field, model_validator

from penstock.gate.rule import Case, Rule, RuleSpec, not_measured, result
from penstock.records.decision import RuleResult
from penstock.records.evaluation import EvaluationBase
from penstock.records.operations import Operations
from penstock.reports.blocks import Grid, Part, Text, notes_of, number

WHOLE = "operations"
LATENCY, SIZE, AGREEMENT = (f"operations: {part}" for part in ("latency", "size", "agreement"))


class OperationsSpec(RuleSpec):
    """Measured by the model server itself, started with the candidate."""

    p99_at_most: float | None = Field(
        default=None, gt=0, description="Seconds: 99th percentile of one row's answer"
    )
    size_at_most: int | None = Field(
        default=None, gt=0, description="Bytes of what the server loads"
    )
    agreement: bool = Field(
        default=True,
        description="The server's answers must equal the model's own on the same rows",
    )
    requests: int = Field(default=300, ge=100, le=100_000, description="Single rows timed")

    @model_validator(mode="after")
    def _asks(self) -> OperationsSpec:
        if self.p99_at_most is None and self.size_at_most is None and not self.agreement:
            raise ValueError("give p99_at_most, size_at_most or agreement: the rule has no bound")
        return self


class ServingRule(Rule[OperationsSpec, None]):
    """One result each for latency, size and agreement."""

    name = "operations"
    order = 130
    field = (
        OperationsSpec | None,
        Field(default=None, description="How the model serves, measured by its server"),
    )

    def describe(self, settings: OperationsSpec) -> Iterator[tuple[str, str]]:
        """Yield the requirement of each part."""
        yield WHOLE, "It must serve as it was judged, measured in its own server."
        if settings.p99_at_most is not None:
            yield (
                LATENCY,
                f"99 of 100 single rows must be answered within {settings.p99_at_most:g} seconds.",
            )
        if settings.size_at_most is not None:
            yield SIZE, f"What its server loads must be at most {settings.size_at_most:,} bytes."
        if settings.agreement:
            yield AGREEMENT, "Its server must answer as the model that was judged does."

    def measured_alike(self, settings: OperationsSpec, then: Sequence[OperationsSpec]) -> bool:
        """Return whether as many rows were timed: latency, size and answers always are."""
        return any(one.requests >= settings.requests for one in then)

    def judge(self, settings: OperationsSpec, case: Case) -> Iterator[RuleResult]:
        """Yield one result for each part."""
        operations = case.operations
        if operations is None or not operations.asked:
            yield not_measured(WHOLE, settings, "the candidate in its server")
            return
        if settings.p99_at_most is not None:
            yield _latency(operations, settings, settings.p99_at_most)
        if settings.size_at_most is not None:
            yield _size(operations, settings, settings.size_at_most)
        if settings.agreement:
            yield _agreement(operations, settings)

    def card(self, _: EvaluationBase | None, operations: Operations | None) -> Part:
        """Return what was measured in the server."""
        if operations is None or not operations.asked:
            return Part("Serving", [Text("Not measured before the release.")])
        rows = [
            ["Runtime", operations.runtime],
            ["99th percentile of one row's answer, seconds", number(operations.p99)],
            ["Bytes that the server loads", number(operations.size)],
            ["Rows sent", f"{operations.rows:,}"],
            ["Rows whose answers differ from the model's own", f"{operations.differences:,}"],
        ]
        return Part("Serving", [Grid(["What", "Figure"], rows, (1,)), *notes_of(operations.notes)])


def _latency(operations: Operations, settings: OperationsSpec, bound: float) -> RuleResult:
    name = LATENCY
    p99, p50 = operations.p99, operations.p50
    if p99 is None or p50 is None:
        return not_measured(name, settings, "the latency", bound=bound)
    if operations.requests < settings.requests:
        sentence = (
            f"Only {operations.requests:,} single rows were timed, the policy asks for "
            f"{settings.requests:,}: the rule cannot pass."
        )
        return result(name, settings, passed=False, value=p99, bound=bound, sentence=sentence)
    passed = p99 <= bound
    sentence = (
        f"99 of 100 answers to a single row come within {1000 * p99:.1f} ms, half within "
        f"{1000 * p50:.1f} ms; at most {1000 * bound:.1f} ms are allowed "
        f"({operations.requests:,} requests to the {operations.runtime} server, "
        f"{operations.place or 'place not noted'})."
    )
    return result(name, settings, passed=passed, value=p99, bound=bound, sentence=sentence)


def _size(operations: Operations, settings: OperationsSpec, bound: int) -> RuleResult:
    name = SIZE
    if operations.size is None:
        return not_measured(name, settings, "the model's size", bound=bound)
    passed = operations.size <= bound
    sentence = (
        f"The server loads a model of {operations.size:,} bytes ({operations.runtime}); at most "
        f"{bound:,} are allowed."
    )
    return result(
        name, settings, passed=passed, value=operations.size, bound=bound, sentence=sentence
    )


def _agreement(operations: Operations, settings: OperationsSpec) -> RuleResult:
    name = AGREEMENT
    if not operations.rows:
        return not_measured(name, settings, "whether the server answers as the model does", bound=0)
    passed = operations.differences == 0
    if passed:
        sentence = (
            f"The server answers {operations.rows:,} holdout rows as the model itself does: equal "
            f"labels, and scores that differ by {operations.largest:.1g} at most."
        )
    else:
        sentence = (
            f"The server answers {operations.differences:,} of {operations.rows:,} holdout rows "
            f"otherwise than the model itself: {operations.first_difference or 'not said how'}."
        )
    return result(
        name, settings, passed=passed, value=operations.differences, bound=0, sentence=sentence
    )


RULE = ServingRule()
