"""The project file's section `card`: what a model is for, and who owns it."""

from __future__ import annotations

from pydantic import Field

from penstock.records.spec import Spec


class CardSpec(Spec):
    """The owner's part of the model card."""

    intended_use: str = Field(
        default="", max_length=4000, description="What the model is for, and for whom"
    )
    out_of_scope: str = Field(
        default="", max_length=4000, description="What it must not be used for"
    )
    limits: tuple[str, ...] = Field(default=(), description="Known limits, one sentence each")
    ethics: str = Field(
        default="",
        max_length=4000,
        description="Whom its errors may harm, and what is done about it",
    )
    owner: str = Field(default="", max_length=200, description="Person or team who answers for it")
    contact: str = Field(default="", max_length=200, description="Where to reach the owner")
    license: str = Field(default="", max_length=200, description="Under which it may be used")
