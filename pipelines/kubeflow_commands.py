"""The commands on runs of Kubeflow: `penstock submit` and `terminate`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError, UsageError
from penstock.pipelines.located import (
    add_summary_option,
)
from penstock.pipelines.outcomes import EXIT_CODES, INTERRUPTED, VERDICTS
from penstock.pipelines.submission_options import (
    add_endpoint_options,
    add_submission_options,
    endpoint_of,
    project_of,
    warn_of_account,
)

if TYPE_CHECKING:
    from penstock.pipelines.kubeflow_client import Endpoint, Patience
    from penstock.pipelines.submit import Submission

_Commands = Any  # argparse's own type is private


def add_remote_commands(commands: _Commands) -> None:
    """Add the commands to the parser of `penstock`."""
    _add_submit(commands)
    terminate = commands.add_parser(
        "terminate", help="end a run on Kubeflow", description=_terminate.__doc__
    )
    terminate.add_argument("run", help="the run's id")
    add_endpoint_options(terminate)
    terminate.set_defaults(command=_terminate, extra="pipelines")


def _add_submit(commands: _Commands) -> None:
    command = commands.add_parser(
        "submit",
        help="run the release pipeline on Kubeflow",
        description=_submit.__doc__,
        epilog="Exit codes with --wait: 0 released, 3 refused by a gate, 4 rolled back, 1 failed, "
        "2 usage, 130 interrupted (the run continues).",
    )
    add_submission_options(command)
    command.add_argument("--run-name", default="", help="default: the project's name and the time")
    command.add_argument(
        "--once",
        action="store_true",
        help="if the project's experiment has a run of that --run-name already, go on with it",
    )
    command.add_argument("--wait", action="store_true", help="follow the run to its end")
    command.add_argument("--timeout", metavar="TIME", help="wait at most this long, like 90m or 6h")
    command.add_argument(
        "--interval", default=5.0, type=_seconds, metavar="SECONDS", help="between polls (5)"
    )
    command.add_argument(
        "--patience",
        default=300.0,
        type=_seconds,
        metavar="SECONDS",
        help="how long the server may be away while we wait (300)",
    )
    add_summary_option(command)
    command.set_defaults(command=_submit, extra="pipelines")


def _submit(options: argparse.Namespace) -> int:
    """Compile the project and begin a run of it on Kubeflow; with --wait, follow it to its end."""
    from penstock.pipelines.kubeflow_client import connect
    from penstock.pipelines.submit import package, submit, submitted
    from penstock.pipelines.timing import duration

    if options.once and not options.run_name:
        raise UsageError("--once goes with --run-name")
    if options.summary and not options.wait:
        raise UsageError("--summary goes with --wait")
    timeout = duration(options.timeout) if options.timeout else None
    if timeout and not options.wait:
        raise UsageError("--timeout goes with --wait")
    project = project_of(options)
    endpoint = endpoint_of(options, namespace=project.cluster.namespace)
    made = package(project, parameters=options.parameter, folder=options.project.absolute().parent)
    patience = _patience(options, endpoint)

    def begin() -> tuple[Any, Submission]:
        client = connect(endpoint)
        warn_of_account(project, client, endpoint)
        where = {"client": client, "endpoint": endpoint, "name": options.run_name}
        there = submitted(project, made, **where) if options.once else None
        return client, there or submit(project, made, **where)

    # Only what is begun once may be tried again.
    client, submission = patience.request(begin) if options.once else begin()
    print(f"Run {submission.run}: {submission.link}", flush=True)
    if not options.wait:
        return 0
    try:
        return _follow(submission, client, options, patience=patience, timeout=timeout)
    except (KeyboardInterrupt, PenstockError) as error:
        if isinstance(error, PenstockError):
            print(f"penstock: {error}", file=sys.stderr)
        print(
            "Stopped watching; unless it has ended, the run continues. End it with: "
            f"penstock terminate {submission.run} --host {endpoint.address()}",
            file=sys.stderr,
        )
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_CODES["failed"]


def _patience(options: argparse.Namespace, endpoint: Endpoint) -> Patience:
    from penstock.pipelines.kubeflow_client import Patience

    def notice(reason: str) -> None:
        print(f"Trying again for {options.patience:g} s: {reason}", file=sys.stderr, flush=True)

    return Patience(endpoint, seconds=options.patience, notice=notice)


def _follow(
    submission: Submission,
    client: Any,
    options: argparse.Namespace,
    *,
    patience: Patience,
    timeout: float | None,
) -> int:
    from rich.console import Console

    from penstock.pipelines.summary import write_ending
    from penstock.pipelines.watch import Watch

    watch = Watch(submission, client=client, patience=patience, interval=options.interval)
    outcome, reason = watch.to_end(Console(file=sys.stdout), timeout=timeout)
    if options.summary:
        write_ending(
            options.summary,
            outcome=outcome,
            reason=reason,
            link=submission.link,
            notified=watch.notified,
        )
    print(f"\n{VERDICTS[outcome]}  {reason}\n  {submission.link}")
    return EXIT_CODES[outcome]


def _terminate(options: argparse.Namespace) -> int:
    """End a run on Kubeflow; its steps are killed where they are."""
    from penstock.pipelines.kubeflow_client import connect
    from penstock.pipelines.submit import terminate

    endpoint = endpoint_of(options)
    terminate(options.run, client=connect(endpoint), endpoint=endpoint)
    print(f"Run {options.run} is being terminated.")
    return 0


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time above 0")
    return value
