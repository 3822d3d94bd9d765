"""The rule on predicted classes: that each is found, and not less often than by the champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.policy.rules import Rule, Severity


class ClassesRule(Rule):
    """Whether the labels that a classifier gives are of use, whatever its scores are worth.

    Accuracy and the area under the ROC curve can both be high where a rare class is never
    predicted. Each part is a rule of its own. A regression has no classes: nothing is asked of it.
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
        "asks for none",
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
