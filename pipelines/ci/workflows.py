"""The workflows that `penstock init --ci` writes: templates that share blocks of shell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files as resources
from pathlib import Path

import penstock
from penstock.common import files
from penstock.data.sources.addresses import is_local
from penstock.errors import InputError
from penstock.project import Project

SYSTEMS: Mapping[str, Mapping[str, str]] = {
    "github": {
        "github/pull-request.yml": ".github/workflows/@NAME@-pull-request.yml",
        "github/release.yml": ".github/workflows/@NAME@-release.yml",
        "github/monitor.yml": ".github/workflows/@NAME@-monitor.yml",
    },
    "gitlab": {"gitlab/gitlab-ci.yml": ".gitlab-ci.yml"},
    "jenkins": {"jenkins/Jenkinsfile": "Jenkinsfile"},
}
"""By the name of a CI system: its templates, and where each is written in the repository."""

SAMPLE = "sample.csv"
"""The table of a pull request's sample run, beside the project file, where it has no better."""

_PLAIN = re.compile(r"^[A-Za-z0-9._/-]+$")
_BLOCK = re.compile(r"^( *)@@([a-z-]+)@@\n", re.MULTILINE)


def write_workflows(
    system: str, project: Project, *, file: Path, force: bool = False
) -> dict[Path, str]:
    """Write the workflows of a project into its repository, and a file of schedules beside it.

    The repository is the folder above the project file that holds `.git`, else that of the file.
    Files that are there and say the same stay; nothing is written if one says something else.

    Args:
        system: A key of `SYSTEMS`.
        project: The project.
        file: Its file.
        force: Write over workflows that are there; `schedules.yaml` is never written over.

    Returns:
        The text of each file, by its path.

    Raises:
        InputError: If a file is there, or the project file's path is not plain.
    """
    from penstock.pipelines.schedule_file import FILE

    folder = file.absolute().parent
    root = root_of(folder)
    values = _values(project, file=file.absolute(), root=root)
    texts = {
        root / _filled(place, values): _filled(_template(template), values)
        for template, place in SYSTEMS[system].items()
    }
    write_all(texts, force=force)
    schedules = folder / FILE
    if not schedules.exists():
        texts[schedules] = _template(FILE)
        files.write_text(schedules, texts[schedules])
    return texts


def write_all(texts: Mapping[Path, str], *, force: bool) -> None:
    """Write files, or none of them if one is there that says something else.

    Raises:
        InputError: If one is.
    """
    for path, text in texts.items():
        if not force and path.exists() and path.read_text(encoding="utf-8") != text:
            raise InputError(
                "there already is a file of this name, and it says something else",
                where=str(path),
                remedy="Move it away, or write over it with --force.",
            )
    for path, text in texts.items():
        files.write_text(path, text)


def root_of(folder: Path) -> Path:
    """Return the repository of a folder: the one above it that holds `.git`, or itself."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)


def sample_of(project: Project, *, folder: Path) -> str:
    """Return the table of the sample run, relative to the project file.

    It is the project's own table where that is a plain path below the project file.
    """
    uri = project.source.uri
    beside = is_local(uri) and not project.source.query and (folder / uri).is_file()
    return uri if beside and _PLAIN.match(uri) and not uri.startswith(("/", "..")) else SAMPLE


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return a template of this package with `@NAME@` and the like replaced."""
    return _filled(_template(template), values)


def _values(project: Project, *, file: Path, root: Path) -> dict[str, str]:
    path = file.relative_to(root).as_posix()
    if not _PLAIN.match(path):
        raise InputError(
            f"its path in the repository, {path!r}, has characters that a workflow must not hold",
            where=str(file),
            remedy="Use letters, digits, dots, dashes and underscores.",
        )
    return {
        "NAME": project.name,
        "PROJECT": path,
        "SAMPLE": sample_of(project, folder=file.parent),
        "VERSION": penstock.__version__,
    }


def _template(name: str) -> str:
    return (resources(__package__) / "templates" / name).read_text(encoding="utf-8")


def _filled(text: str, values: Mapping[str, str]) -> str:
    def block(found: re.Match[str]) -> str:
        lines = _template(f"blocks/{found[2]}.sh").splitlines()
        return "".join(f"{found[1]}{line}\n" for line in lines)

    text = _BLOCK.sub(block, text)
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
