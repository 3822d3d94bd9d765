"""The command `penstock data restore`: the rows of a dataset, read again."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from penstock.pipelines.located import add_store_options, store_of
from penstock.records.dataset import Dataset

_REGISTERED = "models:/"
_DIGEST = re.compile(r"[a-z][a-z0-9-]*:[0-9a-f]+")


def add_data_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    data = commands.add_parser("data", help="read the rows of a dataset again")
    actions = data.add_subparsers(required=True, metavar="ACTION", dest="action")
    command = actions.add_parser(
        "restore",
        help="read the rows of a dataset again, and check that they are the same",
        description=_restore.__doc__,
        epilog="Exit codes: 0 the same rows are there, 1 they are not, and why.",
    )
    command.add_argument(
        "dataset",
        help="its digest (rows1:...), a version that was trained on it (models:/NAME/VERSION), or "
        "the folder of a dataset",
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    command.add_argument(
        "--uri",
        default="",
        help="another address of the same source, where it moved or the record lacks a secret",
    )
    add_store_options(command)
    command.set_defaults(command=_restore)


def _restore(options: argparse.Namespace) -> int:
    """Read the rows that a dataset was made from into a folder, and compare their digest.

    Of a source that keeps versions (Delta, Iceberg, DVC, lakeFS) the version that was read is read
    again. Nothing is written if the rows are gone or are others.
    """
    from penstock.data.restore import restore

    record = _record(options)
    found = restore(record, output=options.output, uri=options.uri)
    print(f"{options.output} holds the same {found.rows:,} rows, {found.content},")
    print(f"read from {found.source_text}.")
    if record.origin and record.origin.content and record.parent not in (None, found.content):
        print(f"Rows were quarantined from these before they were split: {record.parent} is left.")
    return 0


def _record(options: argparse.Namespace) -> Dataset:
    place = Path(options.dataset)
    if place.is_file():
        return Dataset.read(place)
    registered = options.dataset.startswith(_REGISTERED) or _DIGEST.fullmatch(options.dataset)
    if place.is_dir() or not registered:
        return Dataset.of(place)
    from penstock.registry import versions
    from penstock.registry.datasets import record_by_digest, record_of

    tracking_uri, _ = store_of(options)
    if options.dataset.startswith(_REGISTERED):
        version = versions.registered(options.dataset, tracking_uri=tracking_uri)
        return record_of(version, tracking_uri=tracking_uri)
    return record_by_digest(options.dataset, tracking_uri=tracking_uri)
