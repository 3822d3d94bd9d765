"""What a running step prints for whoever watches it: one line with the figure that matters."""

from __future__ import annotations

import sys

MARK = "penstock| "


def say(headline: str) -> None:
    """Print one line that the run view and a pod's log show as the step's result.

    Args:
        headline: One short sentence or figure, for example `32,561 rows, 15 columns`.
    """
    sys.stdout.write(f"{MARK}{' '.join(headline.split())}\n")
    sys.stdout.flush()


def log(text: str) -> None:
    """Print one line for the step's log.

    Args:
        text: A sentence.
    """
    sys.stdout.write(f"{' '.join(text.split())}\n")
    sys.stdout.flush()
