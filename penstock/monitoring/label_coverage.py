"""Which of the rows that were answered have their labels, and which should have them by now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelCoverage:
    """How many labels have come.

    Attributes:
        rows: Rows that were answered.
        labelled: Those with a label.
        due: Rows older than the delay that labels may have.
        overdue: Those of them without a label.
    """

    rows: int
    labelled: int
    due: int
    overdue: int

    @property
    def share(self) -> float:
        """Share of the due rows that have a label; 1 where none is due."""
        return (self.due - self.overdue) / self.due if self.due else 1.0

    @property
    def sentence(self) -> str:
        """The figures, in words."""
        if not self.rows:
            return "No row was answered."
        return (
            f"{self.labelled:,} of {self.rows:,} rows have a label; "
            f"{self.overdue:,} of {self.due:,} that should have one do not."
        )


def label_coverage(
    times: NDArray[np.datetime64], labelled: NDArray[np.bool_], *, now: datetime, delay: timedelta
) -> LabelCoverage:
    """Return how many labels have come, and how many are overdue.

    A row whose time lies in the future, as after a clock was set back, is not due.

    Args:
        times: When each row was answered, UTC, shape (n,).
        labelled: Whether its label has come, shape (n,).
        now: The time, aware.
        delay: How long a label may take.

    Example:
        >>> from datetime import UTC
        >>> now = datetime(2026, 3, 10, tzinfo=UTC)
        >>> times = np.array(["2026-03-01", "2026-03-02", "2026-03-09"], dtype="datetime64[us]")
        >>> found = label_coverage(
        ...     times, np.array([True, False, False]), now=now, delay=timedelta(days=3)
        ... )
        >>> found.overdue, found.share
        (1, 0.5)
    """
    latest = np.datetime64(int((now - delay).timestamp() * 1e6), "us")
    due = times <= latest
    return LabelCoverage(
        rows=len(times),
        labelled=int(labelled.sum()),
        due=int(due.sum()),
        overdue=int((due & ~labelled).sum()),
    )
