"""The command `penstock reproduce`: a version, trained again from its evidence."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock.data.table.disk import disk_errors
from penstock.errors import InputError
from penstock.pipelines.registry_commands import add_version_target, version_of
from penstock.registry import versions


def add_reproduce_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "reproduce",
        help="train a version again from its evidence, and compare",
        description=_reproduce.__doc__,
        epilog="Exit codes: 0 equal to the last bit, 1 not equal, or it cannot be trained again.",
    )
    add_version_target(command, alias=versions.CHAMPION)
    command.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="keep rows, model and result there"
    )
    command.add_argument(
        "--seed", type=int, help="train with another seed, to see how much hangs on it"
    )
    command.add_argument("--uri", default="", help="another address of the same source of its rows")
    command.set_defaults(command=_reproduce)


def _reproduce(options: argparse.Namespace) -> int:
    """Train a registered version again and compare every score of the holdout.

    Rows, settings and seeds are those that its evidence and its folder record, of which every
    digest is computed again first. What is another is named: libraries, code, machine, seed. The
    registry is read, and not written to.
    """
    from penstock.reproduction import reproduce

    uri, tracking_uri = version_of(options)
    with _folder(options.output) as folder:
        found = reproduce(
            uri, tracking_uri=tracking_uri, folder=folder, seed=options.seed, source=options.uri
        )
    if found.equal:
        print(f"{found.uri} is reproduced: {found.rows:,} rows of the holdout have equal scores,")
        print("to the last bit; settings and threshold are the same.")
    else:
        print(f"{found.uri} is not reproduced.")
    for difference in found.differences:
        print(f"  {difference.text}")
    if not found.differences:
        print("  Libraries, code, machine and seed are the same too.")
    return 0 if found.equal else 1


@contextlib.contextmanager
def _folder(output: Path | None) -> Iterator[Path]:
    if output is None:
        with TemporaryDirectory() as place:
            yield Path(place)
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(
            "there is something already", where=str(output), remedy="Name a folder to make."
        )
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    yield output
