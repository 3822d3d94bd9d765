"""The commands on Kubeflow: `penstock submit`, `terminate` and `schedule`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from penstock.errors import PenstockError, UsageError
from penstock.pipelines.located import (
    add_summary_option,
)
from penstock.pipelines.outcomes import EXIT_CODES, INTERRUPTED, VERDICTS
from penstock.pipelines.submission_options import add_endpoint_options, add_submission_options

if TYPE_CHECKING:
    from penstock.pipelines.kubeflow_client import Endpoint, Patience
    from penstock.pipelines.submit import Submission
    from penstock.project import Project

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
    _add_schedule(commands)


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


def _add_schedule(commands: _Commands) -> None:
    schedule = commands.add_parser(
        "schedule", help="run the release, the monitor or a scoring on a schedule"
    )
    actions = schedule.add_subparsers(title="actions", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create", help="create or replace a schedule", description=_create.__doc__
    )
    add_submission_options(create)
    create.add_argument("--name", default="", help="the schedule's name (default: the project's)")
    which = create.add_mutually_exclusive_group()
    which.add_argument(
        "--score",
        action="store_true",
        help="score a batch (score.yaml) instead of releasing: section scoring",
    )
    which.add_argument(
        "--monitor",
        action="store_true",
        help="look at what serves (monitor.yaml) instead of releasing; every monitoring.every, "
        "unless --cron or --every says otherwise",
    )
    when = create.add_mutually_exclusive_group()
    when.add_argument("--cron", default="", help="five fields as in crontab, or six with seconds")
    when.add_argument("--every", default="", metavar="TIME", help="a duration: 90m, 12h, 7d")
    create.add_argument("--start", default="", metavar="TIME", help="not before: 2026-12-01")
    create.add_argument("--end", default="", metavar="TIME", help="not after")
    create.add_argument(
        "--max-concurrency", type=int, default=1, metavar="N", help="runs at once, 1 to 10 (1)"
    )
    create.add_argument(
        "--catch-up",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="make up for every run that was missed, not only the latest",
    )
    create.set_defaults(command=_create, extra="pipelines")

    listed = actions.add_parser("list", help="show the schedules", description=_list.__doc__)
    add_endpoint_options(listed)
    listed.set_defaults(command=_list, extra="pipelines")
    for name, words in (
        ("pause", "start no more runs"),
        ("resume", "start runs again"),
        ("delete", "delete a schedule; its runs stay"),
    ):
        action = actions.add_parser(name, help=words, description=_change.__doc__)
        action.add_argument("schedule", help="its name or id")
        add_endpoint_options(action)
        action.set_defaults(command=_change, action=name, extra="pipelines")


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
    project = _project(options)
    endpoint = _endpoint(options, namespace=project.cluster.namespace)
    made = package(project, parameters=options.parameter, folder=options.project.absolute().parent)
    patience = _patience(options, endpoint)

    def begin() -> tuple[Any, Submission]:
        client = connect(endpoint)
        _warn_of_account(project, client, endpoint)
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


def _warn_of_account(project: Project, client: Any, endpoint: Endpoint) -> None:
    """Say beforehand where the run's service account may not be ours to use."""
    from penstock.pipelines.kubeflow_client import readable_errors
    from penstock.pipelines.submit import account_warning

    account = project.cluster.service_account
    if not account:
        return
    with readable_errors(endpoint):
        several = client.get_kfp_healthz().multi_user
        namespace = endpoint.namespace or client.get_user_namespace() or ""
    if several and (words := account_warning(account, namespace=namespace)):
        print(words, file=sys.stderr)


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

    endpoint = _endpoint(options)
    terminate(options.run, client=connect(endpoint), endpoint=endpoint)
    print(f"Run {options.run} is being terminated.")
    return 0


def _create(options: argparse.Namespace) -> int:
    """Run the project on a schedule in Kubeflow; a schedule of the same name is replaced."""
    from penstock.pipelines.kubeflow_client import connect
    from penstock.pipelines.schedule import Plan, Schedules, is_paused, trigger_words, watching
    from penstock.pipelines.submit import monitor_package, package, score_package
    from penstock.pipelines.timing import cron, duration, timestamp

    project = _project(options)
    every = options.every
    if options.monitor and not options.cron:
        every = every or project.monitoring.every
    if not (options.cron or every):
        raise UsageError("one of the arguments --cron --every is required")
    plan = Plan(
        cron=cron(options.cron) if options.cron else "",
        every=duration(every) if every else 0,
        start=timestamp(options.start) if options.start else None,
        end=timestamp(options.end) if options.end else None,
        at_once=options.max_concurrency,
        catch_up=options.catch_up,
    )
    plan.check()
    if options.monitor:
        plan = watching(project, plan)
    build = monitor_package if options.monitor else score_package if options.score else package
    folder = options.project.absolute().parent
    made = build(project, parameters=options.parameter, folder=folder)
    endpoint = _endpoint(options, namespace=project.cluster.namespace)
    if plan.cron and plan.cron != options.cron:
        print(f"Cron {options.cron!r} became {plan.cron!r}: Kubeflow expects seconds first.")
    client = connect(endpoint)
    _warn_of_account(project, client, endpoint)
    schedules = Schedules(client, endpoint)
    name = options.name or made.name or project.name
    change, made_run = schedules.create(project, made, plan, name=name)
    version = version_of(made_run)
    print(
        f"Schedule {made_run.display_name} {change}: {trigger_words(made_run)}, version {version}."
    )
    if is_paused(made_run):
        print("It is paused, as it was before; start it with: penstock schedule resume.")
    if plan.cron:
        print("It runs by Kubeflow's clock: UTC, unless CRON_SCHEDULE_TIMEZONE is set there.")
    print(endpoint.link(f"recurringrun/details/{made_run.recurring_run_id}"))
    return 0


def version_of(schedule: Any) -> str:
    """Return the pipeline version's id that a recurring run is pinned to."""
    reference = schedule.pipeline_version_reference
    return str(reference.pipeline_version_id) if reference else "none"


def _list(options: argparse.Namespace) -> int:
    """Show the schedules of a Kubeflow: name, state, when, pipeline version, id."""
    from penstock.pipelines.kubeflow_client import connect
    from penstock.pipelines.schedule import Schedules, is_paused, trigger_words

    endpoint = _endpoint(options)
    every = Schedules(connect(endpoint), endpoint).every()
    for each in every:
        state = "paused" if is_paused(each) else "on"
        print(f"{each.display_name}  {state}  {trigger_words(each)}  {each.recurring_run_id}")
    if not every:
        print("There are no schedules.")
    return 0


def _change(options: argparse.Namespace) -> int:
    """Change one schedule, by its name or id."""
    from penstock.pipelines.kubeflow_client import connect
    from penstock.pipelines.schedule import Schedules

    endpoint = _endpoint(options)
    schedules = Schedules(connect(endpoint), endpoint)
    found = getattr(schedules, options.action)(options.schedule)
    done = {"pause": "paused", "resume": "resumed", "delete": "deleted"}[options.action]
    print(f"Schedule {found.display_name} {done}.")
    return 0


def _project(options: argparse.Namespace) -> Project:
    """Load the project, with what the options say of its cluster."""
    from penstock import project
    from penstock.cluster.settings import ClusterSpec

    loaded = project.load(options.project, settings=options.settings)
    given = {
        name: value
        for name in ("service_account", "experiment", "namespace")
        if (value := getattr(options, name))
    }
    if options.no_cache:
        given["caching"] = False
    raw = loaded.cluster.model_dump() | given
    cluster = ClusterSpec.parse(raw, where="the options")
    return loaded.model_copy(update={"cluster": cluster})


def _endpoint(options: argparse.Namespace, *, namespace: str = "") -> Endpoint:
    from penstock.pipelines.kubeflow_client import Endpoint

    endpoint = Endpoint(
        host=options.host,
        namespace=options.namespace or namespace,
        token_file=options.token_file,
        cookie_file=options.cookie_file,
        ca_cert=options.ca_cert,
        insecure=options.insecure,
    )
    if endpoint.insecure and endpoint.ca_cert:
        raise UsageError("--ca-cert and --insecure exclude one another")
    if endpoint.insecure:
        print("The server's certificate is not checked (--insecure).", file=sys.stderr)
    return endpoint


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a time above 0")
    return value
