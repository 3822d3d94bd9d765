"""What decisions are worth: reported, or held to a bound. The policy calls it `cost`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from penstock.errors import InputError
from penstock.gate.rule import Case, Measurement, Rule, RuleSpec, not_measured, result
from penstock.metrics.business_value import PER, PREDICTED, TRUTH, DecisionValue
from penstock.metrics.expression import parse
from penstock.records.base import Value
from penstock.records.decision import RuleResult
from penstock.records.estimate import Estimate
from penstock.records.evaluation import CANDIDATE, EvaluationBase
from penstock.records.model import Abstention, Task
from penstock.records.operations import Operations
from penstock.reports.blocks import Grid, Part, figure, not_measured_part
from penstock.reports.page import Cell, Section, paragraph, table
from penstock.reports.words import title_of

if TYPE_CHECKING:
    import numpy as np

    from penstock.gate.holdout import Context

NAME = "cost"


class BusinessValueSpec(DecisionValue, RuleSpec):
    """The value of decisions: measured on the holdout, and in training what sets the threshold."""

    at_least: float | None = Field(
        default=None, description="Value of 1,000 decisions; null only reports it"
    )
    on: Literal["estimate", "interval"] = Field(
        default="interval",
        description="estimate compares the figure, interval the lower end of its interval",
    )

    @model_validator(mode="after")
    def _can_be_missed(self) -> BusinessValueSpec:
        if self.matrix is not None:
            self.matrix.check(self.at_least)
        return self


class Reviewed(Value):
    """What comes of leaving some rows to people, who decide right."""

    band: Abstention
    share: Estimate = Field(description="Share of the rows that people decide")
    per_thousand: Estimate = Field(description="Value of 1,000 decisions, people's cost taken off")
    cost: float = Field(description="Of one decision by a person")


class BusinessValue(Measurement):
    """The value of 1,000 decisions about rows like the holdout's."""

    unit: str
    expression: str = Field(default="", description="How the value of a row is computed")
    per_thousand: Estimate
    others: dict[str, Estimate] = Field(
        default={}, description="The same of the champion and the baselines, by their names"
    )
    rows: int = Field(default=0, description="Rows that have a value")
    reviewed: Reviewed | None = Field(
        default=None,
        exclude_if=lambda found: found is None,
        description="The candidate's, where people decide some rows. None: the model decides all",
    )
    notes: tuple[str, ...] = ()


class BusinessValueRule(Rule[BusinessValueSpec, BusinessValue]):
    """The value of 1,000 decisions, or the lower end of its interval, keeps its bound."""

    name = NAME
    order = 120
    field = (
        BusinessValueSpec | None,
        Field(default=None, description="What decisions are worth"),
    )
    record_name = "kpi"
    record = (BusinessValue | None, None)
    judge_only = frozenset({"at_least", "on"})

    def describe(self, settings: BusinessValueSpec) -> Iterator[tuple[str, str]]:
        """Yield its requirement."""
        if settings.at_least is None:
            yield NAME, "The value per 1,000 decisions is reported, not enforced."
            return
        which = "The lower end of the interval of the" if settings.on == "interval" else "The"
        bound = f"{settings.at_least:,g} {settings.unit}".strip()
        yield NAME, f"{which} value per 1,000 decisions must be at least {bound}."

    def columns(self, settings: BusinessValueSpec) -> Iterator[tuple[str, str]]:
        """Yield those that the value of a row depends on."""
        for name in sorted(settings.names()):
            yield f"gate.cost ({settings.text()})", name

    def check_columns(
        self, settings: BusinessValueSpec, columns: Sequence[str], *, target: str
    ) -> None:
        """Refuse also an expression that says `truth` of a table which has such a column."""
        super().check_columns(settings, columns, target=target)
        same = {TRUTH} if target == TRUTH else set()
        named = parse(settings.expression).names if settings.expression else frozenset()
        for word in sorted({TRUTH, PREDICTED} - same):
            if word in named and word in columns:
                raise InputError(
                    f"{word!r} means the {'true' if word == TRUTH else 'predicted'} label or value "
                    "here, and the table has a column of that name too",
                    where="gate.cost.expression",
                    remedy="Rename the column in the source.",
                )

    def quality(self, settings: BusinessValueSpec, *, task: Task | None) -> Iterator[str]:  # noqa: ARG002
        """Yield the result, if it is bounded and one model's decisions can be worth less."""
        if settings.at_least is not None and settings.depends_on_the_model():
            yield NAME

    def measure(self, settings: BusinessValueSpec, context: Context) -> BusinessValue:
        """Measure the value of each model's decisions, with intervals by resampling the rows.

        Every model decides at its own threshold, which its training chose; nothing is chosen here.

        Raises:
            InputError: If the rule does not fit the task or the table.
        """
        return _measure(settings, context)

    def judge(self, settings: BusinessValueSpec, case: Case) -> Iterator[RuleResult]:
        """Yield the value, held to the bound if there is one."""
        found, bound = self.measured(case.evaluation), settings.at_least
        if found is None:
            yield not_measured(NAME, settings, "the business value of decisions", bound=bound)
        else:
            yield _judge(settings, found, case.evaluation.confidence)

    def section(self, evaluation: EvaluationBase) -> Section | None:
        """Return the value of each model's decisions."""
        found = self.measured(evaluation)
        return None if found is None else _section(evaluation, found)

    def card(self, evaluation: EvaluationBase | None, _: Operations | None) -> Part:
        """Return the candidate's."""
        found = None if evaluation is None else self.measured(evaluation)
        if found is None:
            return not_measured_part("Business value")
        unit = f" ({found.unit})" if found.unit else ""
        rows = [[f"Value per 1,000 decisions{unit}", figure(found.per_thousand)]]
        if (reviewed := found.reviewed) is not None:
            rows += [
                [f"The same, where people decide some rows{unit}", figure(reviewed.per_thousand)],
                ["Share of the rows that people decide", figure(reviewed.share)],
            ]
        return Part("Business value", [Grid(["What", "Figure"], rows, (1,))])


def _measure(settings: BusinessValueSpec, context: Context) -> BusinessValue:
    import numpy as np

    from penstock.data.table import read_table
    from penstock.data.table.frames import read_arrays
    from penstock.metrics.bootstrap import percentile_interval, replicate
    from penstock.metrics.business_value import values_of
    from penstock.metrics.weighted import Means

    holdout = context.holdout
    record = holdout.record
    columns = read_arrays(holdout.folder, settings.names(), where=f"gate.cost ({settings.text()})")
    truth = read_table(holdout.folder, [record.target]).column(0).to_numpy()
    found = {
        name: PER
        * values_of(
            settings,
            task=record.task,
            columns=columns,
            truth=truth,
            predicted=model.labels_of(holdout.scores[name]),
            positive=record.positive,
            negative=next((c for c in record.classes if c != record.positive), None),
        )
        for name, model in holdout.models.items()
    }
    known = np.isfinite(found[CANDIDATE])
    resampled = replicate(
        {name: [Means({"value": values[known]})] for name, values in found.items()},
        rows=int(known.sum()),
        resamples=context.resamples,
        seed=context.seed,
    )
    figures = {
        name: percentile_interval(
            values[known].mean(), resampled[name]["value"], confidence=context.confidence
        )
        for name, values in found.items()
    }
    reviewed = _reviewed(settings, context, values=found[CANDIDATE], truth=truth, known=known)
    lacking = int((~known).sum())
    needed = f"lack one of {', '.join(sorted(settings.names()))}" if settings.names() else ""
    unseen = "are of a class that the model does not know" if settings.matrix is not None else ""
    return BusinessValue(
        unit=settings.unit,
        expression=settings.text(),
        per_thousand=figures.pop(CANDIDATE),
        others=figures,
        rows=int(known.sum()),
        reviewed=reviewed,
        notes=(
            (
                f"{lacking:,} rows {' or '.join(filter(None, (needed, unseen)))}: they have no "
                "value and are left out.",
            )
            if lacking
            else ()
        ),
    )


def _reviewed(
    settings: BusinessValueSpec,
    context: Context,
    *,
    values: np.ndarray,
    truth: np.ndarray,
    known: np.ndarray,
) -> Reviewed | None:
    """Return what comes of leaving the rows of the band to people; `values` are of 1,000 each."""
    import numpy as np

    from penstock.metrics.abstention import abstained
    from penstock.metrics.bootstrap import percentile_interval, replicate
    from penstock.metrics.methods import wilson
    from penstock.metrics.weighted import Means

    band, matrix = settings.abstention(), settings.matrix
    if band is None or matrix is None or settings.review is None:
        return None
    holdout, confidence = context.holdout, context.confidence
    left = abstained(band, holdout.scores[CANDIDATE])
    right = np.where(truth == holdout.record.positive, matrix.true_positive, matrix.true_negative)
    decided = np.where(left, PER * (right.astype(float) - settings.review), values)[known]
    drawn = replicate(
        {CANDIDATE: [Means({"value": decided})]},
        rows=len(decided),
        resamples=context.resamples,
        seed=context.seed,
    )
    low, high = wilson(int(left.sum()), len(left), confidence=confidence)
    return Reviewed(
        band=band,
        share=Estimate(value=float(left.mean()), low=low, high=high),
        per_thousand=percentile_interval(
            decided.mean(), drawn[CANDIDATE]["value"], confidence=confidence
        ),
        cost=settings.review,
    )


def _judge(settings: BusinessValueSpec, found: BusinessValue, confidence: float) -> RuleResult:
    value_of, unit = found.per_thousand, f" {found.unit}" if found.unit else ""
    value_text = (
        f"The value per 1,000 decisions is {value_of.value:,.2f}{unit} ({confidence:.0%} "
        f"interval {value_of.low:,.2f} to {value_of.high:,.2f})"
    )
    if (champion := found.others.get("champion")) is not None:
        value_text += f", the champion's {champion.value:,.2f}{unit}"
    if settings.at_least is None:
        sentence = f"{value_text}. It is reported, not enforced."
        return result(NAME, settings, passed=None, value=value_of.value, sentence=sentence)
    value = value_of.low if settings.on == "interval" else value_of.value
    subject = "the lower end of the interval" if settings.on == "interval" else "the figure"
    passed = value >= settings.at_least
    return result(
        NAME,
        settings,
        passed=passed,
        value=value,
        bound=settings.at_least,
        sentence=f"{value_text}; {subject} is {'not below' if passed else 'below'} "
        f"{settings.at_least:,.2f}{unit}.",
    )


def _section(evaluation: EvaluationBase, found: BusinessValue) -> Section:
    figures = {CANDIDATE: found.per_thousand, **found.others}
    unit = f" in {found.unit}" if found.unit else ""
    rows: list[list[str | Cell]] = [
        [Cell(title_of(name), strong=name == CANDIDATE), *_ends(one)]
        for name, one in figures.items()
    ]
    explanation = (
        f"The value of a row is given by the policy: {found.expression}. It is the mean over "
        f"{found.rows:,} rows, times 1,000."
    )
    if evaluation.task == "binary":
        explanation += (
            " Each model decides at its own threshold, which its training chose on rows held out "
            "of the training part; nothing was chosen on these rows."
        )
    if found.reviewed is not None:
        rows.append(["Candidate, with people", *_ends(found.reviewed.per_thousand)])
    return Section(
        "Business value",
        table(["Model", f"1,000 decisions{unit}", "from", "to"], rows, numeric=(1, 2, 3))
        + paragraph(explanation)
        + (paragraph(_review_text(found.reviewed, evaluation)) if found.reviewed else "")
        + "".join(map(paragraph, found.notes)),
        f"The value per 1,000 decisions{unit}, with {evaluation.confidence:.0%} intervals.",
    )


def _review_text(found: Reviewed, evaluation: EvaluationBase) -> str:
    share = found.share
    return (
        f"Rows with a probability of the positive class between {found.band.low:.4g} and "
        f"{found.band.high:.4g} are left to people (Chow's rule, at a cost of {found.cost:g} "
        f"each): {share.value:.1%} of the holdout ({evaluation.confidence:.0%} interval "
        f"{share.low:.1%} to {share.high:.1%}), so the model decides {1 - share.value:.1%}. People "
        "are taken to decide right, and probabilities to be calibrated."
    )


def _ends(one: Estimate) -> list[str]:
    values = (one.value, one.low, one.high)
    return [f"{value:,.2f}".replace("-", "\N{MINUS SIGN}") for value in values]


RULE = BusinessValueRule()
