"""The commands on experiments: `penstock experiment size|start|status|weight|stop`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import UsageError
from penstock.pipelines.located import Located, add_project_argument, add_settings, locate

if TYPE_CHECKING:
    from penstock.records.experiment import Experiment
    from penstock.rollout.experiment.papers import Place, Shown
    from penstock.rollout.target import Target

_ENDED_EARLY = 4


def add_experiment_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `penstock`."""
    experiment = commands.add_parser(
        "experiment", help="compare an approved version with the champion by a business KPI"
    )
    actions = experiment.add_subparsers(title="actions", required=True, metavar="ACTION")

    size = actions.add_parser(
        "size", help="how many users an experiment takes", description=_size.__doc__
    )
    size.set_defaults(command=_size)

    start = actions.add_parser(
        "start",
        help="begin an experiment, or go on with it, and watch it",
        description=_start.__doc__,
        epilog="Exit codes: 0 promoted or champion kept, 4 ended early, 1 failed, 2 usage.",
    )
    start.add_argument(
        "--challenger",
        type=int,
        metavar="VERSION",
        help="this version instead of the newest that is approved",
    )
    start.add_argument(
        "--holdout",
        type=Path,
        metavar="FOLDER",
        help="the rows of its holdout, where runs here did not leave them",
    )
    start.set_defaults(command=_start)

    status = actions.add_parser(
        "status", help="what it shows now, at any time", description=_status.__doc__
    )
    status.set_defaults(command=_status)

    weight = actions.add_parser(
        "weight", help="give the challenger more of the users", description=_weight.__doc__
    )
    weight.add_argument("--to", type=int, required=True, metavar="PERCENT")
    weight.set_defaults(command=_weight)

    stop = actions.add_parser("stop", help="end it: the winner stays", description=_stop.__doc__)
    stop.add_argument("--keep", action="store_true", help="keep the champion, whatever is shown")
    stop.set_defaults(command=_stop)
    for action in (size, start, status, weight, stop):
        add_project_argument(action)
        add_settings(action)


def _size(options: argparse.Namespace) -> int:
    """Show how many users it takes to see the smallest effect that matters."""
    from penstock.gate.rules.business_value import RULE
    from penstock.rollout.experiment.kpi import planned_size, range_of

    project = locate(options.project, settings=options.settings).project
    spec = project.experiment
    low, high = range_of(spec, RULE.of(project.gate))
    size = planned_size(spec, low=low, high=high)
    if size is None:
        raise UsageError(
            "it is not said what is to be seen, or how the KPI varies",
            where="experiment.effect, experiment.baseline, experiment.sd",
            remedy="For a rate: --set experiment.baseline=0.10 --set experiment.effect=0.01. Else "
            "experiment.sd, low and high too.",
        )
    print(
        f"{size.users:,} users, both arms together, {spec.weight} % of them with the challenger.\n"
        f"  By then a difference of {spec.effect:g} is seen with a probability of at least "
        f"{spec.power:.0%},\n"
        f"  at {spec.confidence:.0%} confidence over all looks. The KPI's standard deviation is "
        f"taken as {size.sd:.4g}.\n"
        f"  A test that is read once, at the end, takes {size.fixed:,}: reading at any time costs "
        f"{size.inflation:.2f} times\n"
        f"  the users at most, and is decided earlier where the difference is larger."
    )
    return 0


def _start(options: argparse.Namespace) -> int:
    """Begin an experiment, or go on with the one that has not ended, and watch it to its end.

    Ctrl-C leaves it: users keep their versions, and `start` goes on with it.
    """
    from penstock.gate.rules.business_value import RULE
    from penstock.registry.identity import current_identity
    from penstock.rollout.experiment.running import new_order, run

    found = locate(options.project, settings=options.settings)
    registry = found.registry
    target, place = _service(found)
    project, spec = found.project, found.project.experiment
    print(
        f"The experiment on {project.name} is watched here, every {spec.every}. What it shows: "
        "penstock experiment status.",
        flush=True,
    )
    record = run(
        target,
        place=place,
        wanted=options.challenger,
        order=lambda: new_order(
            target,
            version=options.challenger,
            spec=spec,
            deployment=project.deployment,
            cost=RULE.of(project.gate),
            tracking_uri=registry,
            by=current_identity().name,
            holdouts=lambda: _holdouts(found, options.holdout),
        ),
    )
    return _ended(record, found, place)


def _status(options: argparse.Namespace) -> int:
    """Show what an experiment shows: valid at any time, as often as anybody looks."""
    from penstock.rollout.experiment import words
    from penstock.rollout.experiment.papers import shown
    from penstock.rollout.words import headline

    target, place = _service(locate(options.project, settings=options.settings))
    found: Shown | None = shown(target, place=place)
    if found is None:
        print("There was no experiment yet. Begin one with: penstock experiment start")
        return 0
    print(headline(found.rollout))
    print("\n".join(words.lines(found.reading, found.plan, guards=found.guards)))
    if found.rollout.outcome is None and not target.driven():
        print("  Nobody watches it now. Go on with it: penstock experiment start")
    print(f"  Page: {found.page}")
    return 0


def _weight(options: argparse.Namespace) -> int:
    """Give the challenger more of the users: some move to it, and none back."""
    from penstock.rollout.experiment.running import set_weight

    target, _ = _service(locate(options.project, settings=options.settings))
    set_weight(target, options.to)
    print(f"The challenger gets {options.to} % of the users from the next look on.")
    return 0


def _stop(options: argparse.Namespace) -> int:
    """End the experiment: the challenger is promoted if it is shown to be better, else it goes."""
    from penstock.registry.identity import current_identity
    from penstock.rollout.experiment.running import stop

    found = locate(options.project, settings=options.settings)
    target, place = _service(found)
    record = stop(target, place=place, by=current_identity().name, keep=options.keep)
    if record is None:
        print("Asked its controller to end it. See what came of it: penstock experiment status")
        return 0
    return _ended(record, found, place)


def _ended(record: Experiment, found: Located, place: Place) -> int:
    from penstock.pipelines.index import refresh_index

    refresh_index(found)
    kept = record.challenger if record.outcome == "promoted" else record.champion
    print(f"Version {kept} serves. {record.reason}")
    print(f"  Page: {place.page(record.identity)}")
    return 0 if record.outcome in ("promoted", "kept") else _ENDED_EARLY


def _service(found: Located) -> tuple[Target, Place]:
    from penstock.rollout.experiment.papers import Place

    project = found.project
    if not project.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = found.tracking_uri
    target = found.target(tracking_uri=project.tracking_uri)
    return target, Place(found.home, found.tracking_uri, project.notify, found.folder)


def _holdouts(found: Located, given: Path | None) -> Iterator[Path]:
    """Yield folders that may hold the rows of a holdout: of the newest run first."""
    from penstock.pipelines.outputs import Outputs

    if given is not None:
        yield given
    for run in sorted((found.home / "runs").glob("*/"), reverse=True):
        folder = Outputs(run / "kfp").path("split", "holdout")
        if folder is not None:
            yield folder
