"""The entry of a project in Backstage's catalogue."""

from __future__ import annotations

import json
import re
from pathlib import Path

from penstock.errors import UsageError
from penstock.pipelines.ci.workflows import fill, root_of, write_all
from penstock.project import Project

_OWNER = re.compile(r"^([a-z]+:)?([A-Za-z0-9_.-]+/)?[A-Za-z0-9_.-]{1,63}$")


def write_entry(project: Project, *, folder: Path, owner: str, force: bool = False) -> Path:
    """Write `catalog-info.yaml` into the repository of a project.

    Args:
        project: The project.
        folder: Where its file is.
        owner: Who owns it, as Backstage names people: `team-risk`, `group:default/team-risk`.
        force: Write over one that is there.

    Returns:
        The file.

    Raises:
        UsageError: If the owner is not a name of Backstage's.
        InputError: If there is one that says something else.
    """
    if not _OWNER.match(owner):
        raise UsageError(
            f"{owner!r} is not an owner that Backstage knows",
            where="--backstage",
            remedy="Write a name like team-risk, or group:default/team-risk.",
        )
    path = root_of(folder) / "catalog-info.yaml"
    says = json.dumps(f"A model that predicts {project.target}, released by Penstock")
    values = {"NAME": project.name, "DESCRIPTION": says, "OWNER": owner}
    write_all({path: fill("catalog-info.yaml", values)}, force=force)
    return path
