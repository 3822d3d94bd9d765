"""One check of a version: what a record says, and what there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "fails", "missing", "not signed", "not there"]
"""missing: a required item is absent. not there: an optional item is absent."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: What.
        expected: What a record says it is.
        found: What it is now.
        verdict: Whether they agree.
    """

    name: str
    expected: str
    found: str
    verdict: Verdict

    @property
    def good(self) -> bool:
        """Whether it gives no reason to doubt the version."""
        return self.verdict in ("holds", "not signed", "not there")


def same(name: str, expected: str, found: str) -> Check:
    """Return the check that what was found is what a record says.

    Args:
        name: What.
        expected: What the record says; empty if it says nothing.
        found: What there is; empty if there is nothing.

    Example:
        >>> same("model", "sha256:1", "sha256:2").verdict
        'fails'
        >>> same("model", "sha256:1", "").verdict
        'missing'
    """
    if not found:
        return Check(name, expected, "none", "missing" if expected else "not there")
    return Check(name, expected or "none", found, "holds" if expected == found else "fails")
