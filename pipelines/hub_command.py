"""The command `penstock hub sync`: Kubeflow Hub gets what MLflow's registry has of a model."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from penstock.pipelines.located import add_project_argument, add_tracking_uri, locate

if TYPE_CHECKING:
    from penstock.hub.sync import Written


def add_hub_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser("hub", help="tell Kubeflow Hub which versions there are")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    bring = actions.add_parser(
        "sync",
        help="write what the registry has of the project's model into the Hub",
        description=_sync.__doc__,
        epilog="Exit codes: 0 the Hub says what the registry says, 1 it does not.",
    )
    add_project_argument(bring)
    add_tracking_uri(bring)
    bring.add_argument("--json", action="store_true", help="what was written, as JSON")
    bring.set_defaults(command=_sync)


def _sync(options: argparse.Namespace) -> int:
    """Write every version of the project's model into Kubeflow Hub: state, digests, places.

    Runs do it themselves where notify.hub.address names the Hub. This makes good what they could
    not write, and tells of what was done outside of runs, as by rollback or approve.
    """
    from penstock.hub.sync import sync

    found = locate(options.project)
    written = sync(
        found.project.name,
        hub=found.project.notify.hub,
        tracking_uri=options.tracking_uri or found.registry,
    )
    print(json.dumps(asdict(written), indent=2) if options.json else _told(written))
    return 0


def _told(written: Written) -> str:
    lines = [
        *(f"created  {one}" for one in written.created),
        *(f"changed  {one}" for one in written.changed),
    ]
    versions = "1 version" if written.versions == 1 else f"{written.versions} versions"
    news = "" if lines else ", as the registry says: nothing was to change"
    lines.append(f"Kubeflow Hub at {written.address} ({written.dialect}) has {versions}{news}.")
    return "\n".join(lines)
