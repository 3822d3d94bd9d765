"""How many rows are due, and how old the newest may be: the section `monitoring.volume`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock.records.spec import Spec


class VolumeSpec(Spec):
    """What is asked of the number of rows and of their age.

    Rows of a period are compared with what the service had at the same hour of the same day of the
    week, where that is known of three weeks; else at the same hour of the day; else on average.
    """

    period: Literal["1h", "1d"] = Field(
        default="1h",
        description="Rows are counted by hour or by day, in UTC. Of fewer than 20 rows an hour, "
        "hours say nothing: take days",
    )
    learn: float = Field(
        default=7,
        ge=1,
        le=28,
        description="Days of which the numbers must be known before one is judged",
    )
    factor: float = Field(
        default=2,
        gt=1,
        description="So many times fewer or more rows than usual are no drift; what varies more by "
        "itself has more room",
    )
    newest_within: float = Field(
        default=0,
        ge=0,
        description="Hours that the newest row of a look may be old, else the verdict is blind; "
        "0: two periods between looks",
    )
