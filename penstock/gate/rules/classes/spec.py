"""The settings of the rule on predicted classes, and the record of each class."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.gate.rule import Measurement, RuleSpec
from penstock.records.decision import Severity
from penstock.records.estimate import Estimate

MANY = 3
"""Classes that a sentence names."""


class ClassesSpec(RuleSpec):
    """Whether the labels that a classifier gives are of use, whatever its scores are worth.

    Accuracy and the area under the ROC curve can both be high where a rare class is never
    predicted. Each part is a rule of its own. A regression has no classes: none applies to it.
    """

    better_than_guessing: bool = Field(
        default=True,
        description="The lower end of the interval of the balanced accuracy must lie above 1 / "
        "classes, which every answer reaches that does not look at the row",
    )
    recall_at_least: float | None = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Recall of every class that has min_rows rows; the estimate is compared. null "
        "requires none",
    )
    recall_severity: Literal["auto"] | Severity = Field(
        default="auto",
        description="Of that bound alone. auto: as `severity` for two classes, warn for more, and "
        "warn where gate.cost says what decisions are worth",
    )
    margin: float | None = Field(
        default=0.05,
        ge=0,
        le=1,
        description="The balanced accuracy may be lower than the champion's by at most this; the "
        "estimate is compared. null compares with no champion",
    )
    min_rows: int = Field(
        default=10, ge=1, description="Classes with fewer rows in the holdout are not judged"
    )


class ClassFigures(Measurement):
    """One class of the holdout. Its name is the label as text."""

    name: str
    rows: int = Field(description="Rows that are of this class")
    called: int = Field(description="Rows that are predicted as this class")
    recall: Estimate | None = Field(description="None: no row is of this class")
    precision: Estimate | None = Field(description="None: no row is predicted as this class")
    champion: float | None = Field(
        default=None, description="The champion's recall on the same rows"
    )


class Cut(Measurement):
    """What a threshold gives on the holdout."""

    threshold: float
    recall: float
    precision: float | None = Field(description="None: no row scores so high")
    called: float = Field(description="Share of all rows that are predicted positive")

    def sentence(self) -> str:
        """Return `0.31 (recall 72%, precision 55%)`."""
        recall, precision = _share(self.recall), _share(self.precision)
        return f"{self.threshold:.3g} (recall {recall}, precision {precision})"


class Classes(Measurement):
    """Recall and precision of every class, at the model's own threshold."""

    target: str = Field(default="", description="The column whose classes they are")
    positive: str = Field(default="", description="Two classes: the positive one")
    threshold: float | None = Field(default=None, description="Two classes: the model's own")
    classes: tuple[ClassFigures, ...] = Field(description="In the model's order")
    balanced_accuracy: Estimate
    advantage: Estimate | None = Field(
        default=None, description="In balanced accuracy over the champion, on the same rows"
    )
    others: tuple[Cut, ...] = Field(
        default=(), description="Two classes: what other thresholds give, the highest first"
    )

    @property
    def shown(self) -> tuple[ClassFigures, ...]:
        """Classes to name first: the positive one and the rarer; of several the least found."""
        if self.positive:
            rarer = min(self.classes, key=lambda one: one.rows)
            first = [one for one in self.classes if one.name == self.positive]
            return tuple(dict.fromkeys([*first, rarer]))
        return self.weakest[:MANY]

    @property
    def weakest(self) -> tuple[ClassFigures, ...]:
        """The classes of which the holdout has rows, by recall, the least first."""
        there = [one for one in self.classes if one.recall is not None]
        return tuple(sorted(there, key=lambda one: one.recall.value if one.recall else 0.0))

    def sentences(self) -> tuple[str, ...]:
        """Return in words what is found of each class, and what another threshold would give."""
        total = sum(one.rows for one in self.classes)
        if not self.positive:
            listed = "; ".join(self._one(one, total) for one in self.shown)
            rest = len(self.weakest) - len(self.shown)
            more = f"; the recall of the other {rest} is no lower" if rest > 0 else ""
            return (f"Lowest recall by class: {listed}{more}.",)
        at = "" if self.threshold is None else f"At the threshold {self.threshold:.3g}: "
        found = [at + "; ".join(self._one(one, total) for one in self.shown) + "."]
        if self.others:
            cuts = "; ".join(cut.sentence() for cut in self.others)
            found.append(f"Other thresholds for {self.named(self.positive)}: {cuts}.")
        return tuple(found)

    def named(self, name: str) -> str:
        """Return how a sentence calls a class: `fraud = True`."""
        return f"{self.target} = {name}" if self.target else name

    def _one(self, one: ClassFigures, total: int) -> str:
        recall, precision = (
            None if figure is None else figure.value for figure in (one.recall, one.precision)
        )
        return (
            f"recall {_share(recall)} and precision {_share(precision)} of {self.named(one.name)} "
            f"({one.rows:,} of {total:,} rows)"
        )


def _share(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.1%}" if value < 0.1 else f"{value:.0%}"
