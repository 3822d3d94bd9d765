"""A run of the release pipeline: on this machine, or on Kubeflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.api.dataset import Dataset
from penstock.api.drawn import drawn
from penstock.pipelines.outcomes import VERDICTS
from penstock.pipelines.run_result import RunResult
from penstock.pipelines.summary import summary
from penstock.records.decision import Decision
from penstock.records.run_end import Outcome


@dataclass(frozen=True)
class Run:
    """A run that has ended on this machine.

    Attributes:
        result: All that is known of it: records, pages, times.
    """

    result: RunResult

    @property
    def outcome(self) -> Outcome:
        """`released`, `refused`, `rolled_back` or `failed`."""
        return self.result.outcome

    @property
    def reason(self) -> str:
        """Why, in words."""
        return self.result.reason

    @property
    def decision(self) -> Decision | None:
        """What the gate decided; None if it was not run."""
        return self.result.decision

    @property
    def registered(self) -> str:
        """The address of the version that it registered; empty where there is none."""
        return self.result.registration.uri if self.result.registration else ""

    @property
    def url(self) -> str:
        """Where the version is served; empty: it is not."""
        return self.result.deployment.url if self.result.deployment else ""

    @property
    def pages(self) -> dict[str, Path]:
        """Its pages by name: validation, features, training, evaluation, decision and more."""
        return dict(self.result.reports)

    @property
    def holdout(self) -> Dataset | None:
        """The rows that the gate judged on; None if it did not get that far."""
        return Dataset.open(self.result.holdout) if self.result.holdout else None

    def summary(self) -> str:
        """Return what `penstock run` prints at its end."""
        return summary(self.result)

    def __repr__(self) -> str:
        return f"Run({self.outcome!r}, {self.reason!r})"

    def _repr_html_(self) -> str:
        data = self.result.dataset
        facts = [
            ("Dataset version", data.version if data else ""),
            ("Registered", self.registered),
            ("Served at", self.url),
            *((f"Page: {name}", str(path)) for name, path in self.pages.items()),
        ]
        good = self.outcome == "released"
        return drawn(
            VERDICTS[self.outcome],
            self.reason,
            tone="good" if good else "bad",
            facts=[(label, value) for label, value in facts if value],
        )


@dataclass(frozen=True)
class Submitted:
    """A run that Kubeflow has taken.

    Attributes:
        run: Its id.
        link: Its page.
        outcome: How it ended; None: nobody waited for its end.
        reason: Why.
    """

    run: str
    link: str
    outcome: Outcome | None = None
    reason: str = ""

    def _repr_html_(self) -> str:
        ended = self.outcome is not None
        tone = ("good" if self.outcome == "released" else "bad") if ended else "plain"
        return drawn(
            VERDICTS[self.outcome] if self.outcome is not None else "Submitted",
            self.reason,
            tone=tone,
            facts=[("Run", self.run), ("Link", self.link)],
        )
