"""A whole run of the release on this machine, with its summary and the index of all runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from penstock.pipelines.index import refresh_index
from penstock.pipelines.located import Located
from penstock.pipelines.run import run_release
from penstock.pipelines.run_result import RunResult
from penstock.pipelines.summary import write_summary
from penstock.project import Project


def run_here(
    found: Located,
    *,
    project: Project,
    fresh: bool,
    settings: Sequence[str],
    summary: Path | None = None,
) -> RunResult:
    """Run the release pipeline, write its summary, and bring the index up to date.

    Args:
        found: The project and where it is.
        project: What to run: its project, or a variant of it.
        fresh: Run every step.
        settings: What was changed of the project for this run.
        summary: A further file for the outcome.

    Raises:
        InputError: See `run_release`.
    """
    from rich.console import Console

    try:
        result = run_release(
            project,
            folder=found.folder,
            console=Console(file=sys.stdout),
            fresh=fresh,
            settings=settings,
        )
        write_summary(result, also=summary)
    finally:
        # A run that was interrupted is one that did not end.
        refresh_index(found)
    return result
