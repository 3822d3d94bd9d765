"""Stated probabilities must be what happens: Brier score and expected calibration error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from penstock.errors import InputError
from penstock.gate.rule import Case, Measurement, Rule, RuleSpec, not_measured, result
from penstock.metrics.bounds import GUESSED
from penstock.records.decision import RuleResult
from penstock.records.estimate import Estimate
from penstock.records.evaluation import CANDIDATE, EvaluationBase
from penstock.records.model import Task
from penstock.records.operations import Operations
from penstock.reports.blocks import Grid, Part, figure, not_measured_part
from penstock.reports.page import Section, paragraph, table
from penstock.reports.words import figure_text, plain

if TYPE_CHECKING:
    from penstock.gate.holdout import Context

BRIER, ERROR = "calibration brier", "calibration ece"

_SUBJECTS = {
    BRIER: "The Brier score (squared distance of stated probabilities from what happened)",
    ERROR: "The expected calibration error (how far stated probabilities lie from what happens)",
}


class CalibrationSpec(RuleSpec):
    """Whether stated probabilities are what happens.

    Of two classes the probability of the positive one is judged; of several, that of the class
    which is predicted (top label).
    """

    brier_at_most: float | None = Field(
        default=None,
        gt=0,
        lt=2,
        description="Brier score; of several classes summed over them, up to 2",
    )
    ece_at_most: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Expected calibration error, over equal-mass bins, freed of what chance alone "
        "adds to it in few rows",
    )
    bins: int = Field(default=10, ge=2, le=100, description="Of the calibration error")
    on: Literal["estimate", "interval"] = Field(
        default="estimate",
        description="estimate compares the figure, interval the upper end of its interval",
    )

    @model_validator(mode="after")
    def _bounded(self) -> CalibrationSpec:
        if self.brier_at_most is None and self.ece_at_most is None:
            raise ValueError("give brier_at_most, ece_at_most or both")
        return self

    def bounds(self) -> dict[str, float]:
        """Return the bound of each result."""
        bounds = {BRIER: self.brier_at_most, ERROR: self.ece_at_most}
        return {name: bound for name, bound in bounds.items() if bound is not None}


class Calibration(Measurement):
    """Stated probabilities against what happened."""

    of: str = Field(
        description="positive class: its stated probability. top label: of several classes, the "
        "probability given to the one that is predicted, against whether it is right"
    )
    brier: Estimate = Field(
        description="Mean squared distance of the stated probability from what happened; of "
        "several classes summed over them, from 0 to 2"
    )
    ece: Estimate = Field(
        description="Expected calibration error over equal-mass bins, freed of what chance alone "
        "adds to it"
    )
    plain_ece: float = Field(description="The same as counted, which is too high in few rows")
    bins: int = Field(description="How many; fewer than in the policy where scores are equal")


class CalibrationRule(Rule[CalibrationSpec, Calibration]):
    """One result for each bound."""

    name = "calibration"
    order = 80
    field = (
        CalibrationSpec | None,
        Field(default=None, description="Whether stated probabilities are what happens"),
    )
    record = (Calibration | None, None)
    judge_only = frozenset({"brier_at_most", "ece_at_most", "on"})

    def describe(self, settings: CalibrationSpec) -> Iterator[tuple[str, str]]:
        """Yield what both bounds ask, under the name of each."""
        words = {BRIER: "Brier score", ERROR: "calibration error"}
        bounds = settings.bounds()
        limits = " and ".join(f"{words[name]} at most {bound:g}" for name, bound in bounds.items())
        for name in bounds:
            yield name, f"What the model calls 30 % must happen in 30 % of the cases: {limits}."

    def check_fit(self, settings: CalibrationSpec, *, where: str, task: Task) -> None:
        """Refuse a Brier score that two classes always have."""
        if task == "binary" and (settings.brier_at_most or 0) >= 1:
            raise InputError(
                f"the Brier score of two classes is at most 1, so {settings.brier_at_most:g} is "
                "always met",
                where=f"{where}.brier_at_most",
                remedy="Give a bound below 1.",
            )

    def quality(self, settings: CalibrationSpec, *, task: Task | None) -> Iterator[str]:
        """Yield the Brier score, where its bound is one that guessing misses."""
        # Of several classes the score goes to 2, and what guessing gives to 1.
        guessed = 1.0 if task == "multiclass" else GUESSED["brier"]
        bound = settings.brier_at_most
        if bound is not None and bound < guessed and task != "regression":
            yield BRIER

    def measure(self, settings: CalibrationSpec, context: Context) -> Calibration:
        """Measure how far a classifier's probabilities are from what happens.

        Raises:
            InputError: If the model is a regression, which states no probabilities.
        """
        from penstock.metrics.calibration import calibration_error

        rows = context.holdout
        if rows.record.task == "regression":
            raise InputError(
                "a regression states no probabilities",
                where="gate.calibration",
                remedy="Leave the rule out of its policy.",
            )
        scores = rows.scores[CANDIDATE]
        if rows.record.task == "binary":
            of, stated, happened = "positive class", scores, rows.truth == 1
        else:
            of, stated = "top label", scores.max(axis=1)
            happened = scores.argmax(axis=1) == rows.truth
        error = calibration_error(
            happened,
            stated,
            bins=settings.bins,
            confidence=context.confidence,
            seed=context.seed,
        )
        return Calibration(
            of=of,
            # As it has been measured, so that a page shows one figure.
            brier=context.metrics.get("brier") or _brier(context),
            ece=error.estimate,
            plain_ece=error.plain,
            bins=error.bins,
        )

    def judge(self, settings: CalibrationSpec, case: Case) -> Iterator[RuleResult]:
        """Yield whether each figure, or the upper end of its interval, is at most its bound."""
        found, confidence = self.measured(case.evaluation), case.evaluation.confidence
        for name, bound in settings.bounds().items():
            if found is None:
                yield not_measured(name, settings, "calibration", bound=bound)
                continue
            estimate = found.brier if name == BRIER else found.ece
            value = estimate.high if settings.on == "interval" else estimate.value
            passed = value <= bound
            subject = "the upper end of its interval" if settings.on == "interval" else "it"
            yield result(
                name,
                settings,
                passed=passed,
                value=value,
                bound=bound,
                sentence=f"{_SUBJECTS[name]} is {estimate.value:.4g} ({confidence:.0%} interval "
                f"{estimate.low:.4g} to {estimate.high:.4g}); {subject} "
                f"{'is' if passed else 'is not'} at most {bound:.4g}.",
            )

    def section(self, evaluation: EvaluationBase) -> Section | None:
        """Return both figures, and how they are counted."""
        found = self.measured(evaluation)
        if found is None:
            return None
        happened = (
            "that the row is of the positive class"
            if found.of == "positive class"
            else "that the predicted class is right"
        )
        rows = [
            ["Brier score", figure_text(found.brier), "Squared distance from what happened"],
            [
                "Expected calibration error",
                figure_text(found.ece),
                f"Mean distance of stated from observed shares, over {found.bins} bins of equally "
                "many rows",
            ],
        ]
        text = (
            f"Counted plainly the calibration error is {plain(found.plain_ece)}. Chance alone puts "
            "bins a little off, the more the fewer rows there are; what it is expected to add is "
            "taken off. Over- and understatement that cancel within one bin stay unseen."
        )
        return Section(
            "Calibration",
            table(["Figure", "Value", "What it says"], rows, numeric=(1,)) + paragraph(text),
            f"Whether the stated probability {happened} is what happens; each figure with its "
            f"{evaluation.confidence:.0%} interval.",
        )

    def card(self, evaluation: EvaluationBase | None, _: Operations | None) -> Part:
        """Return both figures."""
        found = None if evaluation is None else self.measured(evaluation)
        if found is None:
            return not_measured_part("Calibration")
        rows = [
            ["Brier score", figure(found.brier)],
            ["Expected calibration error", figure(found.ece)],
        ]
        return Part("Calibration", [Grid(["What", "Figure"], rows, (1,))])


def _brier(context: Context) -> Estimate:
    from penstock.metrics.calibration import brier_of_classes, mean_of
    from penstock.metrics.losses import class_losses

    rows = context.holdout
    scores = rows.scores[CANDIDATE]
    if rows.record.task == "multiclass":
        return brier_of_classes(rows.truth, scores, confidence=context.confidence)
    squares = class_losses("binary", rows.truth, scores)["brier"]
    return mean_of(squares, confidence=context.confidence)


RULE = CalibrationRule()
