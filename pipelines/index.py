"""The page of a project in its home: written again whenever a command has changed something."""

from __future__ import annotations

import sys
from pathlib import Path

from penstock.common import files
from penstock.errors import PenstockError
from penstock.pipelines.located import Located
from penstock.pipelines.outputs import INDEX


def refresh_index(project: Located) -> Path | None:
    """Write the project's page again, if there is anything to show.

    It is read as `penstock ui` reads it: from the folders of its runs, the state of its service and
    of the monitor, its captures and its registry.

    Returns:
        The page; None if the project never ran here, or if it cannot be written. That is reported,
        and does not fail the command.
    """
    from penstock.pipelines.ui.page import project_page
    from penstock.pipelines.ui.seen import see

    path = project.home / INDEX
    try:
        seen = see(project)
        if seen.empty:
            return None
        files.write_text(path, project_page(seen, live=False))
    except (OSError, PenstockError) as error:
        print(f"penstock: the page {path} was not written: {error}", file=sys.stderr)
        return None
    return path
