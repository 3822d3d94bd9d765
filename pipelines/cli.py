"""The command line: `penstock init`, `run`, `compile`, `example`, `status`, `stop` and more."""

from __future__ import annotations

import argparse
import contextlib
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
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
from penstock.pipelines.data_command import add_data_command
from penstock.pipelines.example_command import add_example_command
from penstock.pipelines.experiment_command import add_experiment_commands
from penstock.pipelines.gate_command import add_gate_command
from penstock.pipelines.init_command import add_init_command
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
from penstock.pipelines.passport_command import add_passport_command
from penstock.pipelines.recall_command import add_recall_command
from penstock.pipelines.registry_commands import add_records_commands
from penstock.pipelines.reproduce_command import add_reproduce_command
from penstock.pipelines.schedule_commands import add_schedule_commands
from penstock.pipelines.score_command import add_score_commands
from penstock.pipelines.service_commands import add_service_commands
from penstock.pipelines.sign_command import add_sign_command
from penstock.pipelines.standard_output import reader_is_gone
from penstock.pipelines.trigger_command import add_trigger_command
from penstock.pipelines.ui_command import add_ui_command
from penstock.redaction import guarded


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
        # A library with an extra of its own is in none of those.
        extra = options.extra if error.extra in ("laptop", "pipelines") else error.extra
        whole = MissingLibraryError(error.library, extra=extra, where=f"penstock {options.called}")
        print(f"penstock: {whole}", file=sys.stderr)
        return EXIT_CODES["failed"]
    except PenstockError as error:
        print(f"penstock: {error}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else EXIT_CODES["failed"]
    except MemoryError:
        print(
            "penstock: there is no memory left for this. Give it more, or fewer rows at a time: "
            "docs/limits.md says what each step holds.",
            file=sys.stderr,
        )
        return EXIT_CODES["failed"]
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
    add_init_command(commands)
    _add_run(commands)
    _add_compile(commands)
    add_example_command(commands)
    _add_stop(commands)
    add_gate_command(commands)
    add_service_commands(commands)
    add_monitor_command(commands)
    add_ui_command(commands)
    add_trigger_command(commands)
    add_experiment_commands(commands)
    add_recall_command(commands)
    add_captures_commands(commands)
    add_score_commands(commands)
    add_remote_commands(commands)
    add_schedule_commands(commands)
    add_records_commands(commands)
    add_passport_command(commands)
    add_sign_command(commands)
    add_data_command(commands)
    add_reproduce_command(commands)
    return parser


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
    command.add_argument(
        "--comment",
        type=Path,
        metavar="FILE",
        help="write outcome and the gate's rules there as Markdown, for a pull request",
    )
    command.set_defaults(command=_run)


def _add_compile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "compile", help="write the pipeline as YAML for Kubeflow", description=_compile.__doc__
    )
    add_project_argument(command)
    add_settings(command)
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        help="default: release.yaml, with --monitor monitor.yaml, with --score score.yaml",
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--monitor",
        action="store_true",
        help="write the pipeline that looks at what serves, not the one that releases",
    )
    which.add_argument(
        "--score",
        action="store_true",
        help="write the pipeline that scores a batch: section scoring",
    )
    command.add_argument(
        "--kubernetes-manifest",
        action="store_true",
        help="write Pipeline and PipelineVersion resources for kubectl apply",
    )
    command.set_defaults(command=_compile, extra="pipelines")


def _add_stop(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "stop", help="stop what a run left serving", description=_stop.__doc__
    )
    add_project_argument(command)
    command.set_defaults(command=_stop)


def _run(options: argparse.Namespace) -> int:
    """Run the whole release pipeline on this machine, and serve the model on loopback."""
    from penstock.pipelines.comment import write_comment
    from penstock.pipelines.run import bad_candidate
    from penstock.pipelines.run_here import run_here
    from penstock.pipelines.run_notice import notify_of
    from penstock.pipelines.summary import summary

    found = locate(options.project, settings=options.settings)
    for field in found.lent:
        print(
            f"Note: {field} holds a secret in clear. The run keeps it out of what it writes; "
            "penstock compile refuses it (docs/secrets.md)."
        )
    result = run_here(
        found,
        project=bad_candidate(found.project) if options.demo else found.project,
        fresh=options.fresh,
        settings=options.settings,
        summary=options.summary,
    )
    print(summary(result), end="")
    if options.comment:
        write_comment(result, options.comment)
    notify_of(result, found=found, summary=options.summary)
    return EXIT_CODES[result.outcome]


def _compile(options: argparse.Namespace) -> int:
    """Write the pipeline of a release, of a look or of a scoring as YAML for Kubeflow."""
    from penstock import project
    from penstock.data.sources.addresses import is_local, is_versioned_folder
    from penstock.pipelines.compile import compile_monitor, compile_release, compile_score
    from penstock.pipelines.secret_fields import SCORING, STEPS, steps_watching, unsupplied

    loaded = project.load(options.project, settings=options.settings)
    folder = options.project.absolute().parent
    release = partial(compile_release, folder=folder)
    build: Callable[..., None] = release
    name, steps = "release.yaml", STEPS
    if options.monitor:
        name, steps = "monitor.yaml", steps_watching(loaded)
        build = partial(compile_monitor, folder=folder)
    elif options.score:
        name, build, steps = "score.yaml", compile_score, SCORING
    output = options.output or Path(name)
    build(loaded, output=output, kubernetes_manifest=options.kubernetes_manifest)
    print(f"Wrote {output}.")
    for line in unsupplied(loaded, steps_of=steps):
        print(f"Its steps will not find a secret unless their image or pod has it: {line}.")
    if build is not release:
        return 0
    if is_local(loaded.source.uri) or is_versioned_folder(loaded.source.uri):
        print(
            f"Its table, {loaded.source.uri}, is a path of this machine: give the parameter uri an "
            "address that the cluster can reach when you submit it."
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
