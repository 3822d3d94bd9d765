"""How many servers answered for a version, in some stretch of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from penstock.records.base import Value


class Replicas(Value):
    """The servers of one version that were ready.

    Example:
        >>> Replicas(least=1, most=2).then(Replicas(least=2, most=4, ended=1))
        Replicas(least=1, most=4, ended=1)
    """

    least: int = Field(description="At the look with the fewest of them")
    most: int = Field(description="At the look with most of them")
    ended: int = Field(
        default=0,
        description="That were ready at one look and gone at a later one: what they answered after "
        "they were scraped last is in no count",
    )

    def then(self, later: Replicas) -> Replicas:
        """Return this stretch and a later one as one."""
        return Replicas(
            least=min(self.least, later.least),
            most=max(self.most, later.most),
            ended=self.ended + later.ended,
        )


def as_one(stretches: Iterable[Mapping[str, Replicas]]) -> dict[str, Replicas]:
    """Return stretches that follow one another as one, by role."""
    together: dict[str, Replicas] = {}
    for stretch in stretches:
        for role, found in stretch.items():
            together[role] = together[role].then(found) if role in together else found
    return together
