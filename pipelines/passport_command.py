"""The command `penstock passport`: a version's evidence in the forms that others read."""

from __future__ import annotations

import argparse
from pathlib import Path

from penstock.errors import UsageError
from penstock.pipelines.registry_commands import (
    add_verification_key,
    add_version_target,
    verification_key,
    version_of,
)
from penstock.registry import versions


def add_passport_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "passport",
        help="write a version's evidence as model card, ML-BOM, Croissant, OpenLineage and more",
        description=_passport.__doc__,
        epilog="Exit codes: 0 written, or what is checked holds; 1 it does not.",
    )
    add_version_target(command, alias=versions.CHAMPION)
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="write it there")
    what.add_argument(
        "--check", type=Path, metavar="FOLDER", help="check a passport against the evidence"
    )
    command.add_argument(
        "--alone",
        action="store_true",
        help="with --check: check the folder by itself, where the registry cannot be reached",
    )
    add_verification_key(command, what="the passport, with --check,")
    command.set_defaults(command=_passport)


def _passport(options: argparse.Namespace) -> int:
    """Write the passport of a version, or check one that was written.

    Everything in it comes from the version's evidence, of which every digest is computed again
    first. With PENSTOCK_SIGNING_KEY it is signed.
    """
    from penstock.passport.documents import check_passport, compare_passport, write_passport

    if options.check is None:
        if options.alone or options.key:
            raise UsageError("--alone and --key are for --check", where="penstock passport")
        uri, tracking_uri = version_of(options)
        written = write_passport(uri, tracking_uri=tracking_uri, folder=options.output)
        print(f"Wrote {options.output}, the passport of {written.uri}:")
        for name in (*written.files, "passport.json"):
            print(f"  {name}")
        return 0
    key = verification_key(options)
    passport = check_passport(options.check, key=key)
    if not options.alone:
        uri, tracking_uri = version_of(options)
        compare_passport(options.check, uri=uri, tracking_uri=tracking_uri)
    signed = f", signed by the holder of {key}" if key else ""
    against = "by its own digests" if options.alone else "against the evidence"
    print(f"{options.check} is the passport of {passport.uri}, checked {against}{signed}.")
    return 0
