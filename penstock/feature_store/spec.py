"""Which features are joined, and from where."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from penstock.records.spec import Spec


class RetrievalSpec(Spec):
    """Fields of `options` of the component `retrieve_features`."""

    service: str = Field(min_length=1, description="Name of the FeatureService")
    time: str = Field(
        min_length=1, description="Column of the time at which a row's features are wanted"
    )
    repository: str = Field(
        default="", description="Folder of the Feast repository, which holds feature_store.yaml"
    )
    store: dict[str, Any] = Field(
        default={},
        description="What feature_store.yaml holds, where no folder can be mounted; one of the two",
    )
    dropped: Literal["refuse", "missing"] = Field(
        default="refuse",
        description="What becomes of rows that Feast's join drops: refuse the join, or keep them "
        "with missing features, for a service of one feature view. Its file store drops a row "
        "whose entity has values, but none that was valid then",
    )
    sample: int = Field(
        default=20,
        ge=0,
        le=200,
        description="Entities whose present values are kept, for a comparison with the feature "
        "server before traffic; 0: none",
    )

    @field_validator("store")
    @classmethod
    def _whole_numbers(cls, store: dict[str, Any]) -> dict[str, Any]:
        # Kubeflow hands 3 over as 3.0, which Feast's own integers refuse.
        return {name: _whole(value) for name, value in store.items()}

    @model_validator(mode="after")
    def _of_one_place(self) -> Self:
        if bool(self.repository) == bool(self.store):
            raise ValueError("give one of repository and store")
        return self


def _whole(value: Any) -> Any:
    """Return settings in which each number without a fraction is an integer."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
