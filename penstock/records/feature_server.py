"""Where a model server asks for the features of an entity."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from penstock.records.spec import Spec


class FeatureServerSpec(Spec):
    """A feature server of Feast, asked by entity keys for what a model was trained with."""

    url: str = Field(
        default="", description="For example http://feast.features:6566; empty: none is asked"
    )
    timeout: float = Field(default=1.0, gt=0, le=60, description="Seconds it may take to answer")
    missing: Literal["refuse", "null"] = Field(
        default="refuse",
        description="What becomes of a request whose entity has no value of a feature there, or "
        "one that is too old: refuse it (422), or take the value as missing",
    )

    @field_validator("url")
    @classmethod
    def _is_one(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("it must begin with http:// or https://")
        return url
