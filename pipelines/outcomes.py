"""How a run can end, here or on Kubeflow: in words, as a task, and as an exit code."""

from __future__ import annotations

from typing import NamedTuple

from penstock.records.run_end import Outcome

EXIT_CODES: dict[Outcome, int] = {"released": 0, "failed": 1, "refused": 3, "rolled_back": 4}

MONITOR_CODES = {"healthy": 0, "watch": 0, "drifted": 5, "degraded": 5, "blind": 6}
"""Exit codes of one look of the monitor, by its verdict."""

ALARMS = {
    "drifted": ("Drifted", "The data have drifted"),
    "degraded": ("Degraded", "The model or its service is worse than it was"),
    "blind": ("Blind", "Something that is to be watched cannot be seen"),
}
"""Title and sentence of the task that ends a look as failed, by its verdict."""

USAGE = 2
"""Exit code: the command was given an argument that it cannot use."""

INTERRUPTED = 130
"""Exit code: a person pressed Ctrl-C."""

READER_GONE = 141
"""Exit code: nobody reads standard output any more; a shell says so of what SIGPIPE has ended."""

VERDICTS: dict[Outcome, str] = {
    "released": "RELEASED",
    "refused": "REFUSED",
    "rolled_back": "ROLLED BACK",
    "failed": "FAILED",
}
"""The first word of a run's summary."""


class Ending(NamedTuple):
    """A task that ends a run which was not released.

    Attributes:
        outcome: How the run ended.
        title: The task's name for people.
        sentence: What happened, without a full stop.
    """

    outcome: Outcome
    title: str
    sentence: str


ENDINGS = {
    "rolled-back": Ending("rolled_back", "Rolled back", "The candidate was rolled back"),
    "not-approved": Ending("refused", "Not approved", "The candidate was not approved"),
    "gate-refused": Ending("refused", "Refused by the gate", "The gate refused the candidate"),
    "data-refused": Ending("refused", "Refused data", "The data were refused"),
}
"""By the names of their tasks. They fail so that Kubeflow shows the run as failed (docs/adr/0004);
none of them is a fault."""

TITLES = {name: ending.title for name, ending in ENDINGS.items()}
