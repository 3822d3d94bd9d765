"""The command `penstock sign`: a version signed later, or again with another key."""

from __future__ import annotations

import argparse
from pathlib import Path

from penstock.pipelines.located import FILE, locate
from penstock.pipelines.registry_commands import add_version_target, version_of
from penstock.registry import versions
from penstock.registry.signing_key import SIGNING_KEY
from penstock.signatures.keys import short


def add_sign_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "sign",
        help="sign a registered version, or sign it again with another key",
        description=_sign.__doc__,
    )
    add_version_target(command, alias=versions.CHAMPION)
    command.add_argument("--reason", default="", help="why")
    command.add_argument("--as", dest="stated", default="", metavar="NAME", help="who you are")
    command.set_defaults(command=_sign)


def _sign(options: argparse.Namespace) -> int:
    """Sign a version's files, decision and evidence with the key that PENSTOCK_SIGNING_KEY names.

    Everything that is known of the version is checked first, as `penstock verify` does. A server of
    it that runs is left as it is; on this machine it has the new signatures when it starts again.
    """
    from penstock.registry.audit import Actor
    from penstock.registry.identity import whoami
    from penstock.registry.signing_again import sign_again

    uri, tracking_uri = version_of(options)
    by = whoami(options.stated)
    reason = options.reason.strip() or f"Signed by the holder of {SIGNING_KEY}."
    actor = Actor(name=by.name, means=by.means, reason=reason)
    version, key = sign_again(uri, actor=actor, tracking_uri=tracking_uri)
    print(f"{version.uri} is signed by key {short(key)}.")
    _renew_here(options, version.uri, tracking_uri=tracking_uri)
    return 0


def _renew_here(options: argparse.Namespace, uri: str, *, tracking_uri: str) -> None:
    """Renew the signatures of the copy from which a server of this machine is started again."""
    from penstock.rollout.fetching import renew_signatures

    file = _project_file(options)
    if file is None:
        return
    found = locate(file)
    version = versions.registered(uri, tracking_uri=tracking_uri)
    if found.project.name == version.name and found.project.deployment.router == "local":
        target = found.target(tracking_uri=tracking_uri)
        renew_signatures(version, into=target.models, tracking_uri=tracking_uri)


def _project_file(options: argparse.Namespace) -> Path | None:
    if not options.target.startswith("models:/"):
        return Path(options.target)
    return options.project or (FILE if FILE.is_file() else None)
