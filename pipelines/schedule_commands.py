"""The commands on recurring runs of Kubeflow: `penstock schedule`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from penstock.errors import UsageError
from penstock.pipelines.submission_options import (
    add_endpoint_options,
    add_submission_options,
    endpoint_of,
    project_of,
    warn_of_account,
)

_Commands = Any  # argparse's own type is private


def add_schedule_commands(commands: _Commands) -> None:
    """Add the commands to the parser of `penstock`."""
    schedule = commands.add_parser(
        "schedule", help="run the release, the monitor or a scoring on a schedule"
    )
    actions = schedule.add_subparsers(title="actions", required=True, metavar="ACTION")
    create = actions.add_parser(
        "create", help="create or replace a schedule", description=_create.__doc__
    )
    add_submission_options(create)
    create.add_argument(
        "--name",
        default="",
        help="the schedule's name (default: the project's, and -monitor or -score after it)",
    )
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

    _add_sync(actions)
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


def _add_sync(actions: _Commands) -> None:
    sync = actions.add_parser(
        "sync",
        help="make the recurring runs what a file in Git says",
        description=_sync.__doc__,
    )
    add_submission_options(sync)
    sync.add_argument(
        "--file", type=Path, metavar="FILE", help="default: schedules.yaml beside the project file"
    )
    how = sync.add_mutually_exclusive_group()
    how.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and do nothing"
    )
    how.add_argument(
        "--check",
        action="store_true",
        help="read the file and compile what it names, without asking Kubeflow",
    )
    sync.set_defaults(command=_sync, extra="pipelines")


def _create(options: argparse.Namespace) -> int:
    """Run the project on a schedule in Kubeflow; a schedule of the same name is replaced."""
    from penstock.pipelines.kubeflow_client import connect
    from penstock.pipelines.schedule import Plan, Schedules, is_paused, trigger_words, watching
    from penstock.pipelines.submit import monitor_package, package, score_package
    from penstock.pipelines.timing import cron, duration, timestamp

    project = project_of(options)
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
    endpoint = endpoint_of(options, namespace=project.cluster.namespace)
    if plan.cron and plan.cron != options.cron:
        print(f"Cron {options.cron!r} became {plan.cron!r}: Kubeflow expects seconds first.")
    client = connect(endpoint)
    warn_of_account(project, client, endpoint)
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


def _sync(options: argparse.Namespace) -> int:
    """Make the recurring runs of a project what its schedules.yaml says.

    What is declared and absent is created, then what a sync made and is no longer declared is
    deleted. Recurring runs that no sync of this project made are left alone.
    """
    from penstock.pipelines import schedule_file
    from penstock.pipelines.kubeflow_client import connect
    from penstock.pipelines.schedule import Schedules
    from penstock.pipelines.schedule_sync import carry_out, counted, steps

    project = project_of(options)
    folder = options.project.absolute().parent
    file = options.file or options.project.parent / schedule_file.FILE
    declared = schedule_file.read(
        file, project=project, folder=folder, parameters=options.parameter
    )
    if options.check:
        names = ", ".join(one.key for one in declared) or "no schedules"
        print(f"{file} declares {names}.")
        return 0
    endpoint = endpoint_of(options, namespace=project.cluster.namespace)
    client = connect(endpoint)
    schedules = Schedules(client, endpoint)
    plan = steps(declared, schedules.every(), project=project.name)
    for step in plan:
        if not options.dry_run:
            carry_out(step, schedules)
        print(f"{step.action:<6}  {step.name}  ({step.why})", flush=True)
    print("Nothing was changed (--dry-run)." if options.dry_run else f"{counted(plan)}.")
    return 0


def _list(options: argparse.Namespace) -> int:
    """Show the schedules of a Kubeflow: name, state, when, pipeline version, id."""
    from penstock.pipelines.kubeflow_client import connect
    from penstock.pipelines.schedule import Schedules, is_paused, trigger_words

    endpoint = endpoint_of(options)
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

    endpoint = endpoint_of(options)
    schedules = Schedules(connect(endpoint), endpoint)
    found = getattr(schedules, options.action)(options.schedule)
    done = {"pause": "paused", "resume": "resumed", "delete": "deleted"}[options.action]
    print(f"Schedule {found.display_name} {done}.")
    return 0
