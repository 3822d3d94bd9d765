"""The commands on what serves: `penstock status`, `rollback`, `rollout resume|approve|abort`."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from penstock.pipelines.located import add_project_argument, locate

if TYPE_CHECKING:
    from penstock.project import Project
    from penstock.records.rollout import Rollout
    from penstock.rollout.target import Target

_ROLLED_BACK = 4


def add_service_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `penstock`."""
    status = commands.add_parser(
        "status",
        help="show what serves, at which weight, and what the rules find",
        description=_status.__doc__,
    )
    add_project_argument(status)
    status.set_defaults(command=_status)

    rollback = commands.add_parser(
        "rollback", help="serve the previous champion again", description=_rollback.__doc__
    )
    add_project_argument(rollback)
    rollback.add_argument("--to", type=int, metavar="VERSION", help="this version instead")
    rollback.set_defaults(command=_rollback)

    rollout = commands.add_parser("rollout", help="resume, approve or abort a rollout")
    actions = rollout.add_subparsers(title="actions", required=True, metavar="ACTION")
    resume = actions.add_parser(
        "resume", help="continue a rollout whose controller was killed", description=_resume.__doc__
    )
    resume.set_defaults(command=_resume)
    approve = actions.add_parser(
        "approve", help="let a step with `hold: true` continue", description=_approve.__doc__
    )
    approve.set_defaults(command=_approve)
    abort = actions.add_parser(
        "abort", help="roll back what is under way", description=_abort.__doc__
    )
    abort.add_argument("--reason", default="no reason was given")
    abort.set_defaults(command=_abort)
    for action in (resume, approve, abort):
        add_project_argument(action)


def _status(options: argparse.Namespace) -> int:
    """Show what serves, at which weight, at which step, and what the rules find."""
    from penstock.rollout.control import status

    _, target = _project(options)
    found = status(target)
    for each in found:
        print("\n".join(each.lines()))
    if not found:
        print("Nothing is being served.")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    """Serve the previous champion (or a named version) again: all traffic, and the alias."""
    from penstock.rollout.control import roll_back

    registry = locate(options.project).registry
    project, target = _project(options)
    rollout = roll_back(target, spec=project.deployment, tracking_uri=registry, to=options.to)
    _refresh(options)
    print(f"Version {rollout.candidate} serves at {rollout.url} and is the champion.")
    return 0


def _resume(options: argparse.Namespace) -> int:
    """Continue the rollout of a controller that was killed, to its end."""
    from penstock.common import progress
    from penstock.rollout.control import resume

    def say(text: str) -> bool:
        progress.say(text)
        return True

    _, target = _project(options)
    rollout = resume(target, tell=say)
    _refresh(options)
    return _ended(rollout)


def _approve(options: argparse.Namespace) -> int:
    """Let a rollout that holds at a step go on."""
    from penstock.rollout.control import approve

    _, target = _project(options)
    print(f"Approved {approve(target)}.")
    return 0


def _abort(options: argparse.Namespace) -> int:
    """Roll back the rollout that is under way."""
    from penstock.rollout.control import abort

    _, target = _project(options)
    rollout = abort(target, reason=options.reason)
    if rollout is None:
        print("Asked its controller to roll back. It has not done so yet: penstock status.")
        return 0
    _refresh(options)
    print(rollout.reason)
    return 0


def _ended(rollout: Rollout) -> int:
    from penstock.rollout.words import headline

    print(headline(rollout))
    return 0 if rollout.outcome == "promoted" else _ROLLED_BACK


def _refresh(options: argparse.Namespace) -> None:
    from penstock.pipelines.index import refresh_index

    refresh_index(locate(options.project))


def _project(options: argparse.Namespace) -> tuple[Project, Target]:
    """Return the project and where its service lives, with the tracking store of its runs."""
    found = locate(options.project)
    loaded = found.project
    if not loaded.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = found.tracking_uri
    target = found.target(tracking_uri=loaded.tracking_uri)
    return loaded, target
