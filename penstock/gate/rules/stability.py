"""Inputs that are slightly off, by noise or missing values, must not cost much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from penstock.errors import InputError
from penstock.gate.rule import Case, Measurement, Rule, RuleSpec, not_measured, result
from penstock.records.decision import RuleResult, Severity
from penstock.records.estimate import Estimate
from penstock.records.evaluation import CANDIDATE, EvaluationBase
from penstock.records.operations import Operations
from penstock.reports.blocks import Grid, Part, figure, not_measured_part
from penstock.reports.page import Cell, Section, paragraph, table
from penstock.reports.words import advantage_text, figure_text, percent, plain

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from penstock.gate.holdout import Context, Holdout
    from penstock.model import LoadedModel

ROWS = 20_000
"""Rows that are disturbed at most: more are drawn from, so that the figures are the holdout's."""

_PLAIN = "plain"


class StabilitySpec(RuleSpec):
    """How much of the primary metric may be lost when inputs are slightly off."""

    severity: Severity = "warn"
    noise: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Noise added to each number, as a share of its standard deviation; 0: none",
    )
    missing: float = Field(
        default=0.05, ge=0, le=1, description="Share of values set to missing; 0: none"
    )
    drop_at_most: float = Field(
        default=0.05, ge=0, description="In units of the primary metric, for either"
    )

    @model_validator(mode="after")
    def _disturbs(self) -> StabilitySpec:
        if self.noise == 0 and self.missing == 0:
            raise ValueError("let noise or missing be above 0")
        return self

    def amounts(self) -> dict[str, float]:
        """Return how much of each disturbance is applied."""
        amounts = {"noise": self.noise, "missing": self.missing}
        return {kind: amount for kind, amount in amounts.items() if amount}


class Disturbed(Measurement):
    """The primary metric when inputs are slightly off."""

    kind: str = Field(description="noise or missing")
    amount: float
    rows: int = Field(description="How many were disturbed: all, or a sample of the holdout")
    columns: int | None = Field(
        default=None, description="Columns whose values changed; None: an older release measured"
    )
    before: float = Field(description="The figure on the same rows undisturbed")
    value: Estimate | None = Field(default=None, description="None: the model gave no answers")
    drop: Estimate | None = Field(
        default=None, description="How much is lost; oriented, above 0 it is worse"
    )
    failed: str = Field(default="", description="The model's error instead of a prediction")


class StabilityRule(Rule[StabilitySpec, tuple[Disturbed, ...]]):
    """One result for each disturbance."""

    name = "stability"
    order = 90
    field = (
        StabilitySpec | None,
        Field(default=None, description="What small noise and missing values cost"),
    )
    record = (tuple[Disturbed, ...], ())
    judge_only = frozenset({"drop_at_most"})

    def describe(self, settings: StabilitySpec) -> Iterator[tuple[str, str]]:
        """Yield what each disturbance may cost."""
        disturbed = {
            "noise": f"noise of {settings.noise:g} of its standard deviation on each number",
            "missing": f"{settings.missing:.0%} of all values missing",
        }
        for kind in settings.amounts():
            yield (
                f"stability {kind}",
                "Small errors in the inputs must not degrade the model: with "
                f"{disturbed[kind]}, at most {settings.drop_at_most:g} of the primary metric may "
                "be lost.",
            )

    def margins(self, settings: StabilitySpec) -> Iterator[tuple[str, float, str]]:
        """Yield the loss that is allowed."""
        yield "drop_at_most", settings.drop_at_most, "is never exceeded"

    def measure(self, settings: StabilitySpec, context: Context) -> tuple[Disturbed, ...]:
        """Disturb the holdout and measure the primary metric again, on the same rows.

        `noise` adds to every number a draw from the normal distribution whose standard deviation is
        a share of the column's; whole numbers are not kept whole, and codes that the model takes
        for a category are left alone. `missing` takes values away, each with the same probability.
        The draws are made once. Above 20,000 rows a sample is taken.

        Returns:
            One for each disturbance; none where these rows do not define the metric.
        """
        import numpy as np

        holdout = context.holdout
        generator = np.random.default_rng([context.seed, 1])
        taken = np.arange(holdout.rows)
        if holdout.rows > ROWS:
            taken = np.sort(generator.choice(holdout.rows, ROWS, replace=False))
        model = holdout.models[CANDIDATE]
        frame = _frame(holdout, taken)
        scores = {_PLAIN: holdout.scores[CANDIDATE][taken]}
        failed, changed = {}, {}
        for kind, amount in settings.amounts().items():
            disturbed = _disturb(frame, model, kind, amount, generator)
            changed[kind] = sum(not disturbed[c].equals(frame[c]) for c in frame)
            try:
                scores[kind] = _scores(holdout, disturbed)
            # That a model cannot take a missing value is a finding about it, no fault of rows.
            except InputError as error:
                failed[kind] = f"{error.what:.200}"
            except ValueError as error:
                failed[kind] = f"{type(error).__name__}: {error!s:.200}"
        rows = replace(
            holdout,
            truth=holdout.truth[taken],
            scores=scores,
            models=dict.fromkeys(scores, model),
        )
        return tuple(
            one.model_copy(update={"columns": changed[one.kind]})
            for one in _measure(rows, settings.amounts(), failed, confidence=context.confidence)
        )

    def judge(self, settings: StabilitySpec, case: Case) -> Iterator[RuleResult]:
        """Yield whether each loss is at most what is allowed."""
        measured = self.measured(case.evaluation) or ()
        for kind, amount in settings.amounts().items():
            found = next((m for m in measured if (m.kind, m.amount) == (kind, amount)), None)
            yield _judge(settings, kind, found, case.evaluation)

    def section(self, evaluation: EvaluationBase) -> Section | None:
        """Return the metric under each disturbance."""
        found = self.measured(evaluation)
        return _section(found, evaluation) if found else None

    def card(self, evaluation: EvaluationBase | None, _: Operations | None) -> Part:
        """Return what each disturbance costs."""
        found = None if evaluation is None else self.measured(evaluation)
        if evaluation is None or not found:
            return not_measured_part("Stability")
        rows = [
            [f"Loss of {evaluation.metric} under {one.kind} of {one.amount:g}", figure(one.drop)]
            for one in found
        ]
        return Part("Stability", [Grid(["What", "Figure"], rows, (1,))])


def _judge(
    settings: StabilitySpec, kind: str, found: Disturbed | None, evaluation: EvaluationBase
) -> RuleResult:
    name = f"stability {kind}"
    if found is None:
        return not_measured(name, settings, f"stability under {kind}", bound=settings.drop_at_most)
    if kind == "noise" and found.columns == 0:
        sentence = "The model takes no number that varies, so that there is none to add noise to."
        return result(name, settings, passed=None, bound=settings.drop_at_most, sentence=sentence)
    done = (
        f"noise of {found.amount:.3g} of its standard deviation is added to each number"
        if kind == "noise"
        else f"{found.amount:.3g} of all values are missing"
    )
    if found.value is None or found.drop is None:
        return result(
            name,
            settings,
            passed=False,
            bound=settings.drop_at_most,
            sentence=f"When {done}, the model does not answer: {found.failed or 'no reason given'}",
        )
    passed = found.drop.value <= settings.drop_at_most
    return result(
        name,
        settings,
        passed=passed,
        value=found.drop.value,
        bound=settings.drop_at_most,
        sentence=f"When {done}, {evaluation.metric} goes from {found.before:.4g} to "
        f"{found.value.value:.4g}: a loss of {found.drop.value:+.4g} ({evaluation.confidence:.0%} "
        f"interval {found.drop.low:+.4g} to {found.drop.high:+.4g}), "
        f"{'not above' if passed else 'above'} {settings.drop_at_most:.4g}.",
    )


def _section(found: tuple[Disturbed, ...], evaluation: EvaluationBase) -> Section:
    rows: list[list[str | Cell]] = []
    for one in found:
        name = (
            f"Noise of {one.amount:.3g} standard deviations on each number"
            if one.kind == "noise"
            else f"{percent(one.amount)} of all values missing"
        )
        if one.value is None or one.drop is None:
            rows.append([name, Cell("no answer", tone="bad"), one.failed])
        else:
            rows.append([name, figure_text(one.value), advantage_text(one.drop)])
    text = (
        "Above 0 something is lost. The disturbance was drawn once; the intervals are from "
        "resampling the rows, the same for both figures."
    )
    return Section(
        "Stability",
        table(["What was done", evaluation.metric, "Loss"], rows) + paragraph(text),
        f"{evaluation.metric} on {found[0].rows:,} rows when the model's inputs are slightly off; "
        f"undisturbed it is {plain(found[0].before)}.",
    )


def _frame(holdout: Holdout, taken: np.ndarray) -> pd.DataFrame:
    """Return the candidate's input of the taken rows, in their order."""
    import pandas as pd
    import pyarrow as pa

    from penstock.data.table import iter_batches

    model = holdout.models[CANDIDATE]
    parts, start = [], 0
    for batch in iter_batches(holdout.folder, [column.name for column in model.record.columns]):
        here = taken[(taken >= start) & (taken < start + len(batch))] - start
        start += len(batch)
        if len(here):
            parts.append(model.frame(batch.take(pa.array(here))))
    return pd.concat(parts, ignore_index=True)


def _disturb(
    frame: pd.DataFrame,
    model: LoadedModel,
    kind: str,
    amount: float,
    generator: np.random.Generator,
) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    changed, codes = {}, _codes(model)
    for column in model.record.columns:
        values = frame[column.name]
        if kind == "missing":
            values = values.mask(generator.random(len(values)) < amount, None)
        elif column.type in ("integer", "number") and column.name not in codes:
            deviation = values.std()
            size = 0.0 if np.isnan(deviation) else amount * float(deviation)
            values = values + generator.normal(0.0, 1.0, len(values)) * size
        changed[column.name] = values
    return pd.DataFrame(changed)


def _codes(model: LoadedModel) -> set[str]:
    """Return the columns that the model encodes by level: a code with noise is no code."""
    taken: set[str] = set()
    for _, transformer, names in model.pipeline["features"].transformers_:
        steps = [step for _, step in getattr(transformer, "steps", [("", transformer)])]
        if any(hasattr(step, "categories_") for step in steps):
            taken |= set(names)
    return taken


def _scores(holdout: Holdout, disturbed: pd.DataFrame) -> np.ndarray:
    import numpy as np
    import pandas as pd

    model = holdout.models[CANDIDATE]
    # A whole number with noise is none, so the check of values is left out.
    columns = {
        column.name: [None if pd.isna(text) else text for text in disturbed[column.name]]
        if column.type == "string"
        else disturbed[column.name].to_numpy()
        for column in model.record.columns
    }
    scores = np.asarray(model.scores_of(columns))
    if not np.isfinite(scores).all():
        raise ValueError("it gives predictions that are not finite")
    return scores


def _measure(
    rows: Holdout, amounts: dict[str, float], failed: dict[str, str], *, confidence: float
) -> Iterator[Disturbed]:
    import numpy as np

    from penstock.metrics import METRICS
    from penstock.metrics.comparisons import paired_difference
    from penstock.metrics.intervals import estimate_metrics, too_few_rows
    from penstock.metrics.weighted import compute

    metric = rows.record.metric
    given = {name: rows.predictions(name) for name in rows.scores}
    values = {name: compute(predictions)[metric] for name, predictions in given.items()}
    if metric in too_few_rows(given[_PLAIN]) or not np.isfinite(values[_PLAIN]):
        return
    for kind, amount in amounts.items():
        ground = {"kind": kind, "amount": amount, "rows": rows.rows, "before": values[_PLAIN]}
        if kind in failed:
            yield Disturbed(**ground, failed=failed[kind])
        elif np.isfinite(values.get(kind, np.nan)):
            pair = [
                estimate_metrics(given[n], {metric: values[n]}, confidence=confidence)[metric]
                for n in (_PLAIN, kind)
            ]
            value = pair[1].estimate
            if not METRICS[metric].higher_is_better:
                pair.reverse()
            drop = paired_difference(metric, *pair, confidence=confidence).estimate
            yield Disturbed(**ground, value=value, drop=drop)


RULE = StabilityRule()
