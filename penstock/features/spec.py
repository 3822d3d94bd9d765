"""The project file's section on how columns become features."""

from __future__ import annotations

from pydantic import Field

from penstock.own_code.reference import CodeSpec, ReferenceText
from penstock.records.features import FeatureKind
from penstock.records.spec import Spec


class FeaturesSpec(Spec):
    """How raw columns become what the estimator sees. Everything not named is inferred."""

    columns: dict[str, FeatureKind] = Field(
        default_factory=dict,
        description="Kinds to use instead of the inferred: number, category, boolean, datetime, "
        "text, or drop to leave a column out",
    )
    transformer: ReferenceText = Field(
        default="",
        description="A function or class of the project's own, `package.module:name`, which "
        "returns an unfitted scikit-learn transformer; it makes the features of all columns that "
        "are not left out. See docs/own-code.md",
    )
    code: CodeSpec | None = Field(
        default=None, description="Which code that is; filled in when a run is ordered"
    )
    rare_share: float = Field(
        default=0.002,
        ge=0,
        lt=1,
        description="Levels of a category in a smaller share of rows are treated as one",
    )
    max_levels: int = Field(
        default=100, ge=2, description="Levels kept of a category, the commonest first"
    )
    text_buckets: int = Field(
        default=256, ge=16, description="Columns into which the words of a text are hashed"
    )
