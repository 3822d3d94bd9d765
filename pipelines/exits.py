"""What the commands end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.pipelines.run import Outcome

EXIT_CODES: dict[Outcome, int] = {"released": 0, "failed": 1, "refused": 3, "rolled_back": 4}
"""How a run ended, here or on Kubeflow."""

ENDINGS: dict[str, tuple[Outcome, str, str]] = {
    "fail": ("rolled_back", "Rolled back", "The candidate was rolled back"),
    "fail-2": ("refused", "Not approved", "The candidate was not approved"),
    "fail-3": ("refused", "Refused by the gate", "The gate refused the candidate"),
    "fail-4": ("refused", "Refused data", "The data were refused"),
}
"""The tasks that end a run: how it ended, the task's name for people, and what happened. They fail
so that Kubeflow shows the run as failed (docs/adr/0004); none of them is a fault."""

TITLES = {name: title for name, (_, title, _) in ENDINGS.items()}

USAGE = 2
"""A command was given something that it cannot use."""

INTERRUPTED = 130
"""A person pressed Ctrl-C."""
