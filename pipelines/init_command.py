"""The command `penstock init`: a project file for a table, and what its repository needs."""

from __future__ import annotations

import argparse
from pathlib import Path

from penstock.errors import UsageError
from penstock.pipelines.source_options import add_source_options, given_source, given_split

_SYSTEMS = ("github", "gitlab", "jenkins")


def add_init_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "init", help="write a project file for a table", description=_init.__doc__
    )
    command.add_argument(
        "table",
        nargs="?",
        default="",
        help="file, folder, glob, URL or SQLAlchemy URL; not needed for --ci or --backstage where "
        "there is a project file",
    )
    command.add_argument("--target", default="", help="the column to predict")
    command.add_argument("--name", default="", help="project name (default: from the table's name)")
    command.add_argument(
        "--task", default="auto", choices=("auto", "binary", "multiclass", "regression")
    )
    command.add_argument("--query", default="", help="SQL, when TABLE is a database")
    command.add_argument("-o", "--output", type=Path, default=Path("project.yaml"))
    command.add_argument("--force", action="store_true", help="write over existing files")
    command.add_argument(
        "--full",
        action="store_true",
        help="write every setting, not only those that are changed first",
    )
    command.add_argument(
        "--ci", choices=_SYSTEMS, help="write the workflows of this system for the project"
    )
    command.add_argument(
        "--backstage",
        metavar="OWNER",
        default="",
        help="write catalog-info.yaml, by which Backstage knows the project, owned by OWNER",
    )
    add_source_options(command)
    command.set_defaults(command=_init)


def _init(options: argparse.Namespace) -> int:
    """Inspect a table and write a project file for it, with every field explained.

    With --ci or --backstage, write those files for the project too, or for the one that is there.
    """
    if options.table:
        _write_project(options)
    elif not (options.ci or options.backstage):
        raise UsageError(
            "no table is named", where="penstock init", remedy="Give one, and --target COLUMN."
        )
    if options.ci or options.backstage:
        _write_for_the_repository(options)
    return 0


def _write_project(options: argparse.Namespace) -> None:
    from penstock.pipelines.init import write_project

    if not options.target:
        raise UsageError("it is not said which column to predict", where="--target")
    written = write_project(
        options.table,
        target=options.target,
        output=options.output,
        name=options.name,
        task=options.task,
        query=options.query,
        source=given_source(options),
        split=given_split(options),
        force=options.force,
        full=options.full,
    )
    print(f"Wrote {written}. Review it, then: penstock run {written}")


def _write_for_the_repository(options: argparse.Namespace) -> None:
    from penstock import project
    from penstock.pipelines.ci.backstage import write_entry
    from penstock.pipelines.ci.workflows import sample_of, write_workflows

    found = project.load(options.output)
    folder = options.output.absolute().parent
    if options.backstage:
        owner = options.backstage
        print(f"Wrote {write_entry(found, folder=folder, owner=owner, force=options.force)}.")
    if not options.ci:
        return
    for path in write_workflows(options.ci, found, file=options.output, force=options.force):
        print(f"Wrote {path}.")
    sample = folder / sample_of(found, folder=folder)
    if not sample.is_file():
        print(f"Put some hundred rows into {sample}: a pull request releases a sample of them.")
    print("Each of them says in its head what to set in the CI system: docs/gitops.md.")
