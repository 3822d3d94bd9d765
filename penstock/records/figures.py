"""What a look of the monitor saw, as figures: signals, distances, performance, operations."""

from __future__ import annotations

import math
from datetime import datetime

from pydantic import Field

from penstock.records.base import Value
from penstock.records.estimate import Estimate

_SHOWN = math.log(0.1)
"""Evidence in days, as a logarithm, from which a signal says when something changed."""


class SignalFigure(Value):
    """One signal in one window, beside what the reference expects of it.

    `value` is a share or a mean from 0 to 1, of a gap between groups from -1 to 1; `low` and `high`
    are its interval in this window alone.
    """

    name: str = Field(description="For example `amount: missing`")
    kind: str
    column: str = Field(default="", description="Empty: it is not of one column")
    expected: float
    value: float
    low: float
    high: float
    tolerance: float = Field(description="How far from `expected` is not yet drift")
    least: float = Field(
        description="The least mean that is no drift: the tolerance, and what the reference's own "
        "sampling error may be"
    )
    greatest: float = Field(description="The greatest")
    log_evidence: float = Field(description="Natural logarithm of its part of the evidence")
    since: datetime | None = Field(default=None, description="When it probably changed")

    @property
    def excess(self) -> float:
        """How far it lies from what is expected; 1 is the end of the range that is no drift."""
        end = self.greatest if self.value > self.expected else self.least
        far, room = abs(self.value - self.expected), abs(end - self.expected)
        return far / room if room else float(far > 0)


class Detected(Value):
    """What the sequential test has gathered up to a window, that window included."""

    log_evidence: float = Field(
        description="Natural logarithm of the Shiryaev-Roberts statistic, of all signals together"
    )
    threshold: float = Field(description="Its value at which there is an alarm, as a logarithm")
    signals: tuple[SignalFigure, ...] = Field(
        default=(), description="The strongest evidence first: those with most, and those named"
    )
    since: datetime | None = Field(default=None, description="When it probably changed")

    @property
    def alarms(self) -> bool:
        """Whether it has reached its threshold."""
        return self.log_evidence >= self.threshold

    @property
    def changed(self) -> datetime | None:
        """Since when the rows are what they are now: the latest beginning that a signal shows.

        Of the signals that have at least a tenth of a day's evidence each, which is far more than
        chance leaves any of them. The one with most evidence may have begun to move long before the
        rest, by chance or by another change; rows since then would be of two kinds.
        """
        shown = [one.since for one in self.signals if one.log_evidence >= _SHOWN and one.since]
        return max(shown, default=self.since)

    def signal(self, name: str) -> SignalFigure | None:
        """Return the figure of a signal, or None where it has no evidence."""
        return next((one for one in self.signals if one.name == name), None)


class ColumnDistance(Value):
    """How far a column's distribution lies from the reference's; what does not apply is None."""

    column: str
    psi: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    jensen_shannon: float | None = None
    chi_squared: float | None = None


class DueLabels(Value):
    """Rows whose labels were due last: those answered in a time, and how many have labels."""

    since: datetime
    until: datetime
    rows: int
    labelled: int


class Performance(Value):
    """The performance in a window, before and after its labels."""

    metric: str
    higher_is_better: bool
    reference: Estimate | None = Field(default=None, description="On the holdout")
    tolerance: float = Field(description="How much worse is not yet degraded")
    estimated: Estimate | None = Field(default=None, description="Without labels")
    method: str = Field(default="", description="How it was estimated")
    not_estimated: str = Field(default="", description="Why there is no estimate")
    realized: Estimate | None = Field(default=None, description="On the rows whose labels came")
    labels: int = Field(default=0, description="Labels that came in this window")
    due: DueLabels | None = Field(
        default=None, description="None: `monitoring.performance.labels_within` is not set"
    )
    withdrawn: bool = Field(
        default=False,
        description="Whether labels contradict the estimates so often that what a score means must "
        "have changed (concept drift): there is no estimate then",
    )

    def worse(self, figure: Estimate | None) -> bool:
        """Return whether the whole interval of a figure lies beyond the tolerance."""
        if figure is None or self.reference is None:
            return False
        if self.higher_is_better:
            return figure.high < self.reference.value - self.tolerance
        return figure.low > self.reference.value + self.tolerance

    def within(self, figure: Estimate, share: float) -> bool:
        """Return whether a figure is at most a share of the tolerance worse than on the holdout."""
        if self.reference is None:
            return True
        loss = self.reference.value - figure.value
        return (loss if self.higher_is_better else -loss) <= share * self.tolerance


class ServiceFigures(Value):
    """How the service answered users' requests in a window, whatever they asked."""

    requests: int
    client_errors: int = Field(description="Answers with a 4xx status")
    server_errors: int = Field(description="Answers with a 5xx status, and none at all")
    p99: float | None = Field(default=None, description="99 % of the answers took less, in seconds")

    @property
    def error_share(self) -> float:
        """Share of the requests that the server failed, 0 to 1."""
        return self.server_errors / self.requests if self.requests else 0.0


class Volume(Value):
    """Rows of the newest whole hour or day, beside what is usual."""

    since: datetime
    until: datetime
    rows: int
    usual: float | None = Field(default=None, description="None: it is not known yet")
    low: float | None = Field(default=None, description="Fewer rows are too few")
    high: float | None = Field(default=None, description="More are too many")
    by: str = Field(default="", description="What `usual` is the median of, in words")
    learned: datetime | None = Field(
        default=None, description="When enough will be known; None: it is"
    )


class AttributionShare(Value):
    """A column's share of all attribution: of the mean absolute SHAP values."""

    column: str
    holdout: float
    window: float
