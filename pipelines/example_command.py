"""The command `penstock example`: a simulated table, its users, and the whole loop."""

from __future__ import annotations

import argparse
from pathlib import Path

from penstock.errors import UsageError
from penstock.pipelines.located import locate

_TRAFFIC = 10_000
"""Rows that `example --traffic` sends, at most."""


def add_example_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
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
