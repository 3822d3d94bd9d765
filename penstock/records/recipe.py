"""What a model was trained by, so that the same training can be done again."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from penstock.records.base import Record, Value

FILE_NAME = "recipe.json"
"""Where a model folder holds it, under the model's digest."""


class Machine(Value):
    """What of a machine decides the last digits of what it computes."""

    system: str = Field(description="Operating system and processor architecture")
    processor: str = Field(default="", description="Model of the processor, if it is known")
    features: tuple[str, ...] = Field(
        default=(), description="Vector instructions of the processor, of which libraries choose"
    )
    algebra: tuple[str, ...] = Field(
        default=(), description="Libraries of linear algebra, with release and kernel"
    )


class Recipe(Record):
    """`recipe.json` in a model folder: the settings of its training, and where it was done.

    Those of the steps before it are in their own records: how rows were read in the dataset's
    (`origin`), the validation's, the split's (`settings`).
    """

    KIND: ClassVar[str] = "recipe"

    features: dict[str, Any] | None = Field(
        description="Section `features`, defaults left out; None: its step did not record them"
    )
    training: dict[str, Any] = Field(description="Section `training`, defaults left out")
    positive: str = Field(default="", description="The class that was named to be scored")
    value: dict[str, Any] | None = Field(
        default=None, description="What decisions are worth, which set the threshold"
    )
    machine: Machine
