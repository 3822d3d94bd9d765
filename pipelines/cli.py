"""The command line: `penstock init`, `run`, `compile`, `example`, `status`, `stop` and more."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from penstock import __version__
from penstock.common.secrets import keep_environment
from penstock.errors import (
    FormerNameWarning,
    InputError,
    MissingLibraryError,
    PenstockError,
    UsageError,
)
from penstock.pipelines.captures_commands import add_captures_commands
from penstock.pipelines.experiment_command import add_experiment_commands
from penstock.pipelines.gate_command import add_gate_command
from penstock.pipelines.kubeflow_commands import add_remote_commands
from penstock.pipelines.located import (
    add_project_argument,
    add_settings,
    add_summary_option,
    home_of,
    locate,
)
from penstock.pipelines.monitor_command import add_monitor_command
from penstock.pipelines.outcomes import EXIT_CODES, INTERRUPTED, READER_GONE, USAGE
from penstock.pipelines.recall_command import add_recall_command
from penstock.pipelines.registry_commands import add_records_commands
from penstock.pipelines.score_command import add_score_command
from penstock.pipelines.service_commands import add_service_commands
from penstock.pipelines.source_options import add_source_options, given_source, given_split
from penstock.pipelines.standard_output import reader_is_gone
from penstock.pipelines.trigger_command import add_trigger_command
from penstock.pipelines.ui_command import add_ui_command
from penstock.redaction import guarded

_TRAFFIC = 10_000
"""Rows that `example --traffic` sends, at most."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. It prints no secret that it knows."""
    keep_environment()
    try:
        with guarded(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _main(arguments)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        if not reader_is_gone():
            raise
        return READER_GONE


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show what a user is to change as a sentence, and other warnings as Python does."""
    if issubclass(category, FormerNameWarning):
        print(f"penstock: {message}", file=sys.stderr)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        print(text, end="", file=file or sys.stderr)


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except MissingLibraryError as error:
        # Of all that a command needs, the one that is missed first may come with a smaller extra.
        whole = MissingLibraryError(
            error.library, extra=options.extra, where=f"penstock {options.called}"
        )
        print(f"penstock: {whole}", file=sys.stderr)
        return EXIT_CODES["failed"]
    except PenstockError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else EXIT_CODES["failed"]
    except KeyboardInterrupt:
        print("penstock: interrupted", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="penstock",
        description="Release a model of a table: it is served only after a recorded approval.",
    )
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    parser.set_defaults(extra="laptop")
    commands = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", dest="called"
    )
    _add_init(commands)
    _add_run(commands)
    _add_compile(commands)
    _add_example(commands)
    _add_stop(commands)
    add_gate_command(commands)
    add_service_commands(commands)
    add_monitor_command(commands)
    add_ui_command(commands)
    add_trigger_command(commands)
    add_experiment_commands(commands)
    add_recall_command(commands)
    add_captures_commands(commands)
    add_score_command(commands)
    add_remote_commands(commands)
    add_records_commands(commands)
    return parser


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "init", help="write a project file for a table", description=_init.__doc__
    )
    command.add_argument("table", help="file, folder, glob, URL or SQLAlchemy URL")
    command.add_argument("--target", required=True, help="the column to predict")
    command.add_argument("--name", default="", help="project name (default: from the table's name)")
    command.add_argument(
        "--task", default="auto", choices=("auto", "binary", "multiclass", "regression")
    )
    command.add_argument("--query", default="", help="SQL, when TABLE is a database")
    command.add_argument("-o", "--output", type=Path, default=Path("project.yaml"))
    command.add_argument("--force", action="store_true", help="write over an existing file")
    command.add_argument(
        "--full",
        action="store_true",
        help="write every setting, not only those that are changed first",
    )
    add_source_options(command)
    command.set_defaults(command=_init)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "run",
        help="run the release pipeline on this machine",
        description=_run.__doc__,
        epilog="Exit codes: 0 released, 3 refused by a gate, 4 rolled back, 1 failed, 2 usage.",
    )
    add_project_argument(command)
    add_settings(command)
    command.add_argument(
        "--demo",
        choices=("bad-candidate",),
        help="roll out a version whose server fails 5 %% of its requests, to see it rolled back",
    )
    command.add_argument(
        "--fresh",
        action="store_true",
        help="run every step, also where an earlier run had the same inputs, settings and code",
    )
    add_summary_option(command)
    command.set_defaults(command=_run)


def _add_compile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "compile", help="write the pipeline as YAML for Kubeflow", description=_compile.__doc__
    )
    add_project_argument(command)
    add_settings(command)
    command.add_argument(
        "-o", "--output", type=Path, help="default: release.yaml, with --monitor monitor.yaml"
    )
    command.add_argument(
        "--monitor",
        action="store_true",
        help="write the pipeline that looks at what serves, not the one that releases",
    )
    command.add_argument(
        "--kubernetes-manifest",
        action="store_true",
        help="write Pipeline and PipelineVersion resources for kubectl apply",
    )
    command.set_defaults(command=_compile, extra="pipelines")


def _add_example(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "example", help="write a simulated table and its project", description=_example.__doc__
    )
    command.add_argument("folder", type=Path, nargs="?", default=Path("example"))
    command.add_argument("--rows", type=int, default=50_000)
    command.add_argument("--seed", type=int, default=20)
    command.add_argument(
        "--drift",
        type=float,
        nargs="?",
        default=0.0,
        const=1.0,
        help="0 to 1: how far the stream changes over time; 1 if no number is given",
    )
    command.add_argument(
        "--traffic",
        action="store_true",
        help="write nothing: send simulated requests and their labels to the model that is served "
        "of that folder's project; with --drift as after the change",
    )
    command.add_argument(
        "--loop",
        action="store_true",
        help="play the whole loop: release, watch, change the traffic until the model is trained "
        "again, change it back until the first one is recalled; takes some minutes",
    )
    command.add_argument(
        "--label-noise", type=float, default=0.0, help="share of labels flipped, 0 to 0.5"
    )
    command.set_defaults(command=_example)


def _add_stop(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "stop", help="stop what a run left serving", description=_stop.__doc__
    )
    add_project_argument(command)
    command.set_defaults(command=_stop)


def _init(options: argparse.Namespace) -> int:
    """Inspect a table and write a project file for it, with every field explained."""
    from penstock.pipelines.init import write_project

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
    return 0


def _run(options: argparse.Namespace) -> int:
    """Run the whole release pipeline on this machine, and serve the model on loopback."""
    from rich.console import Console

    from penstock.pipelines.index import refresh_index
    from penstock.pipelines.run import bad_candidate, run_release
    from penstock.pipelines.summary import summary, write_summary

    found = locate(options.project, settings=options.settings)
    for field in found.lent:
        print(
            f"Note: {field} holds a secret in clear. The run keeps it out of what it writes; "
            "penstock compile refuses it (docs/secrets.md)."
        )
    try:
        result = run_release(
            bad_candidate(found.project) if options.demo else found.project,
            folder=found.folder,
            console=Console(file=sys.stdout),
            fresh=options.fresh,
            settings=options.settings,
        )
        write_summary(result, also=options.summary)
    finally:
        # A run that was interrupted is one that did not end.
        refresh_index(found)
    print(summary(result), end="")
    return EXIT_CODES[result.outcome]


def _compile(options: argparse.Namespace) -> int:
    """Write the release pipeline, or the monitor's, as KFP v2 YAML with the project's values."""
    from penstock import project
    from penstock.data.sources.addresses import is_local
    from penstock.pipelines.compile import compile_monitor, compile_release
    from penstock.pipelines.secret_fields import STEPS, WATCHING, unsupplied

    loaded = project.load(options.project, settings=options.settings)
    output = options.output or Path("monitor.yaml" if options.monitor else "release.yaml")
    build = compile_monitor if options.monitor else compile_release
    build(loaded, output=output, kubernetes_manifest=options.kubernetes_manifest)
    print(f"Wrote {output}.")
    for line in unsupplied(loaded, steps_of=WATCHING if options.monitor else STEPS):
        print(f"Its steps will not find a secret unless their image or pod has it: {line}.")
    if options.monitor:
        return 0
    if is_local(loaded.source.uri):
        print(
            f"Its table, {loaded.source.uri}, is a path of this machine: give the parameter uri an "
            "address that the cluster can reach when you submit it."
        )
    return 0


def _example(options: argparse.Namespace) -> int:
    """Write a simulated stream of card transactions (fraud) and a project file for it."""
    from penstock.examples import transactions
    from penstock.pipelines.init import write_project

    if options.traffic:
        return _traffic(options)
    if options.loop and (options.folder / "project.yaml").exists():
        return _loop(options)
    table = options.folder / "simulated-transactions.csv"
    frauds = transactions.write(
        table,
        rows=options.rows,
        seed=options.seed,
        drift=options.drift,
        label_noise=options.label_noise,
    )
    written = write_project(
        str(table),
        target=transactions.TARGET,
        output=options.folder / "project.yaml",
        split={"method": "time", "column": transactions.TIME},
        force=True,
    )
    print(
        f"Wrote {table}: {options.rows:,} SIMULATED card transactions, {frauds:,} of them labelled "
        f"fraud. Project: {written}"
    )
    return _loop(options) if options.loop else 0


def _loop(options: argparse.Namespace) -> int:
    from penstock.pipelines.example_loop import play

    project = options.folder / "project.yaml"
    done = play(project)
    print(
        f"Done: {len(done)} actions by the monitor. Stop what serves with: penstock stop {project}"
    )
    return 0


def _traffic(options: argparse.Namespace) -> int:
    from penstock.examples import traffic
    from penstock.rollout.backends.local.services import status

    found = locate(options.folder / "project.yaml")
    name = found.project.name
    served = [one for one in status(found.home) if one.service == name and one.running]
    if not served:
        raise UsageError(
            "nothing is being served of it",
            where=str(options.folder),
            remedy=f"Serve it first: penstock run {options.folder / 'project.yaml'}",
        )
    sent = traffic.send(
        served[0].url,
        name=name,
        rows=min(options.rows, _TRAFFIC),
        seed=options.seed + 1,
        drift=options.drift,
    )
    labels = traffic.label(served[0].url, name=name, labels=sent.labels)
    print(
        f"Sent {len(sent.labels):,} SIMULATED card transactions in {sent.requests:,} requests, "
        f"and {labels:,} labels. See what the monitor says: penstock monitor --once "
        f"{options.folder / 'project.yaml'}"
    )
    return 0


def _stop(options: argparse.Namespace) -> int:
    """Stop the servers that runs of this project left on this machine."""
    from penstock.pipelines.index import refresh_index
    from penstock.rollout.backends.local.services import stop

    home = home_of(options.project.absolute().parent)
    if not home.is_dir() and not options.project.exists():
        raise UsageError(
            "there is no project here, and nothing that a run left",
            where=str(options.project),
            remedy="Name the project: penstock stop FILE.",
        )
    stopped = stop(home)
    # A project file that cannot be read any more must not keep its servers alive.
    with contextlib.suppress(InputError):
        refresh_index(locate(options.project))
    print(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was being served.")
    return 0
