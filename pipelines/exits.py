"""What the commands end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.pipelines.run import Outcome

EXIT_CODES: dict[Outcome, int] = {"released": 0, "failed": 1, "refused": 3, "rolled_back": 4}
"""How a run ended, here or on Kubeflow."""

USAGE = 2
"""A command was given something that it cannot use."""

INTERRUPTED = 130
"""A person pressed Ctrl-C."""
