"""What a dataset's record says of columns that a feature store gave."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from penstock.records.base import Value


class RetrievedFeature(Value):
    """A column that is a feature of a feature service."""

    name: str
    view: str = Field(description="The feature view that it is of")
    type: str = Field(description="As the feature store declares it: Float32, Int64, ...")


class FeatureSample(Value):
    """Values that the offline store had at one moment, to compare the online store with."""

    as_of: datetime
    keys: dict[str, tuple[Any, ...]] = Field(description="Entity keys, one value a row")
    values: dict[str, tuple[Any, ...]] = Field(
        description="By feature, one JSON value a row; null: missing"
    )

    @property
    def rows(self) -> int:
        """How many entities it holds."""
        return len(next(iter(self.keys.values()), ()))


class FeatureRetrieval(Value):
    """Which feature service was joined to a table of entities, and how."""

    service: str
    project: str = Field(description="The feature store's name for its set of definitions")
    definition: str = Field(
        description="`sha256:<hex>` of the service and its views in the registry, times left out"
    )
    feast: str = Field(description="Version of Feast that joined them")
    entities: str = Field(description="Content digest of the table of entities")
    keys: tuple[str, ...] = Field(description="Columns that name an entity")
    time: str = Field(description="Column of the time at which a row's features are wanted")
    features: tuple[RetrievedFeature, ...]
    undated: tuple[str, ...] = Field(
        default=(),
        description="Views that do not say when a value was written: of these late corrections "
        "could not be left out",
    )
    filled: int = Field(
        default=0, description="Entities at a time that the join dropped: their features are null"
    )
    sample: FeatureSample | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are features."""
        return tuple(feature.name for feature in self.features)
