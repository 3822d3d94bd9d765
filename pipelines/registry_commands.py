"""The commands on registered versions: `penstock approve`, `reject`, `audit`, `verify`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from penstock.errors import UsageError
from penstock.pipelines.located import FILE, add_store_options, add_tracking_uri, locate, store_of
from penstock.registry import audit, signing, versions

if TYPE_CHECKING:
    from penstock.gate.approval import ApprovalSpec
    from penstock.registry.versions import Version

_FAILED = 1
_REGISTERED = "models:/"
_LONGEST_DAYS = 36_500.0
_WIDTHS = (26, 24, 58)


def add_records_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `penstock`."""
    for name in ("approve", "reject"):
        command = commands.add_parser(name, help=f"{name} a version", description=_give.__doc__)
        add_version_target(command, alias=versions.CHALLENGER)
        command.add_argument(
            "--version", type=int, metavar="N", help="of the project's model; the one you looked at"
        )
        command.add_argument(
            "--decision",
            default="",
            metavar="sha256:...",
            help="digest of the decision that you looked at, which names the model: nothing is "
            "recorded if the version has another",
        )
        command.add_argument("--reason", required=True, help="why")
        command.add_argument("--as", dest="stated", default="", metavar="NAME", help="who you are")
        if name == "approve":
            command.add_argument(
                "--days", type=float, help="after which it expires (default: as the policy says)"
            )
        command.set_defaults(command=_give, verdict=f"{name}d" if name == "approve" else "rejected")

    command = commands.add_parser(
        "audit",
        help="list who released what, when, and who approved it",
        description=_audit.__doc__,
        epilog="Exit codes: 0 the log is complete, 1 it is broken or the alias disagrees with it.",
    )
    command.add_argument("project", type=Path, nargs="?", help="the project file")
    command.add_argument("--model", default="", metavar="NAME", help="another model of its store")
    add_tracking_uri(command)
    command.add_argument("--json", action="store_true", help="the entries as JSON")
    command.add_argument(
        "--champion",
        type=int,
        metavar="VERSION",
        help="set the champion alias to this version, which was champion before and which nobody "
        "has rejected, and record it in the audit log",
    )
    command.add_argument("--reason", default="", help="why, with --champion")
    command.add_argument("--as", dest="stated", default="", metavar="NAME", help="who you are")
    command.set_defaults(command=_audit)

    command = commands.add_parser(
        "verify",
        help="check a version's files, evidence and audit log",
        description=_verify.__doc__,
        epilog="Exit codes: 0 everything holds, 1 something does not or is missing.",
    )
    add_version_target(command, alias=versions.CHAMPION)
    add_verification_key(command, what="the version")
    command.add_argument("--json", action="store_true", help="the checks as JSON")
    command.set_defaults(command=_verify)


def add_version_target(command: argparse.ArgumentParser, *, alias: str) -> None:
    """Add the options that name a version: its address, or a project whose `alias` is meant."""
    command.add_argument(
        "target",
        nargs="?",
        default=str(FILE),
        help=f"models:/NAME/VERSION, or a project file, whose {alias} is meant",
    )
    add_store_options(command)
    command.set_defaults(alias=alias)


def add_verification_key(command: argparse.ArgumentParser, *, what: str) -> None:
    """Let a command check a signature.

    Args:
        command: The command.
        what: What must be signed, for the help.
    """
    command.add_argument(
        "--key",
        type=Path,
        help=f"public key (PEM) that {what} must be signed by (default: {signing.VERIFY_KEY})",
    )


def verification_key(options: argparse.Namespace) -> Path | None:
    """Return the public key that a command is to check with; None: it is not to check."""
    named = os.environ.get(signing.VERIFY_KEY, "")
    return options.key or (Path(named) if named else None)


def _give(options: argparse.Namespace) -> int:
    """Record your approval or rejection of a version. A rollout that requires one waits for it.

    It is for the version that you looked at: name it (models:/NAME/VERSION, or a project with
    --version or --decision). Otherwise the challenger is shown on a terminal, to be confirmed.

    Who you are is what --as says, else the platform's user (KUBEFLOW_USERID), else the user that
    the cluster of KUBECONFIG knows, else the operating system's; how it is known is written too.
    """
    from penstock.registry import approvals
    from penstock.registry.identity import whoami

    uri, tracking_uri, spec = _version(options)
    verdict: Literal["approved", "rejected"] = options.verdict
    by = whoami(options.stated)
    version = versions.registered(uri, tracking_uri=tracking_uri)
    if "@" in uri and not options.decision:
        _ask(version, uri, options)
    approval = approvals.give(
        version.uri,
        verdict=verdict,
        by=by,
        reason=options.reason,
        tracking_uri=tracking_uri,
        valid_days=_days(getattr(options, "days", None), spec),
        seen=approvals.Seen(
            model=version.model,
            decision=options.decision or version.tags.get(versions.DECISION_DIGEST, ""),
        ),
    )
    until = f", valid until {approval.expires:%Y-%m-%d %H:%M} UTC" if verdict == "approved" else ""
    print(f"{approval.by.name} ({approval.by.means}) {verdict} {approval.uri}{until}.")
    return 0


def _days(given: float | None, spec: ApprovalSpec | None) -> float:
    """Return after how many days an approval expires; the policy's own days bind in any case."""
    longest = spec.valid_days if spec else None
    if given is None:
        return longest or 7.0
    if not 0 < given <= (longest or _LONGEST_DAYS):
        most = f"at most {longest:g} (gate.approval.valid_days)" if longest else "finite"
        raise UsageError(
            f"the days that an approval is valid are above 0 and {most}, got {given:g}",
            where="--days",
        )
    return given


def _ask(version: Version, uri: str, options: argparse.Namespace) -> None:
    """Return only if somebody at a terminal was shown what an alias names now, and confirms it.

    Raises:
        UsageError: If not: an alias moves, and an approval is for the version that was looked at.
    """
    verb = "approve" if options.verdict == "approved" else "reject"
    decision = version.tags.get(versions.DECISION_DIGEST, "none")
    named = f"penstock {verb} {version.uri} --decision {decision} --reason TEXT"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            f"{uri} names no version: it is {version.uri} now, and may be another than you "
            "looked at",
            where=options.target,
            remedy=f"Look at it, then say: {named}",
        )
    shown = {
        "Version": version.uri,
        "Model": version.model,
        "Decision": decision,
        "Trained by": version.tags.get(versions.TRAINED_BY, "not known"),
        "MLflow run": version.run or "none",
    }
    print("\n".join(f"{what:11} {which}" for what, which in shown.items()))
    try:
        answer = input(f"To {verb} it, type its number: ")
    except EOFError:
        answer = ""
    if answer.strip() != str(version.version):
        raise UsageError("not confirmed, nothing is recorded", where=version.uri)


def _audit(options: argparse.Namespace) -> int:
    """List who released what, when, and who approved it, and check that the log is complete."""
    from penstock import tracking
    from penstock.registry.champion import checked_champion

    name, tracking_uri = _model(options)
    if options.champion is not None:
        _move(name, options, tracking_uri=tracking_uri)
    store = tracking.client(tracking_uri)
    with versions.answers(tracking_uri):
        found = versions.registered_model(store, name)
    log = audit.read(found.tags if found else {})
    champion = checked_champion(name, tracking_uri=tracking_uri)
    problems = [*log.problems, *([f"{champion.problem}."] if champion.problem else [])]
    if options.json:
        result = {"entries": [entry.payload() for entry in log.entries], "problems": problems}
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return _FAILED if problems else 0
    for entry in log.entries:
        actor = audit.actor_of(entry)
        print(f"{entry.time:%Y-%m-%d %H:%M:%S}  {entry.event:16} {entry.uri}  {actor}")
        if entry.reason:
            print(f"{'':21}{entry.reason}")
    if not log.entries:
        print(f"No audit log is kept of {name!r}.")
    print(f"Champion: {champion.version.uri if champion.version else 'none'}. {champion.note}")
    for problem in problems:
        print(f"BROKEN: {problem[0].upper()}{problem[1:]}")
    return _FAILED if problems else 0


def _move(name: str, options: argparse.Namespace, *, tracking_uri: str) -> None:
    """Set the champion alias to a version that was champion before, and record it.

    It also repairs an alias that was moved by hand.
    """
    from penstock.registry.admission import require_return
    from penstock.registry.champion import set_champion
    from penstock.registry.identity import whoami

    if not options.reason.strip():
        raise UsageError("moving the champion by hand needs a reason", where="--reason")
    by = whoami(options.stated)
    version = require_return(name, options.champion, tracking_uri=tracking_uri)
    with TemporaryDirectory() as place:
        # The files must be what was registered, or nobody could bring the champion up.
        versions.fetch(version.uri, tracking_uri=tracking_uri, destination=Path(place) / "model")
    set_champion(
        name,
        version.version,
        tracking_uri=tracking_uri,
        actor=audit.Actor(name=by.name, means=by.means, reason=options.reason.strip()),
    )


def _verify(options: argparse.Namespace) -> int:
    """Compute every digest of a version and its evidence again, and list what holds."""
    from penstock.registry.verify import verify

    uri, tracking_uri, _ = _version(options)
    version, checks = verify(uri, tracking_uri=tracking_uri, key=verification_key(options))
    good = all(check.good for check in checks)
    if options.json:
        result: dict[str, Any] = {"uri": version.uri, "holds": good}
        print(json.dumps(result | {"checks": [vars(check) for check in checks]}, indent=2))
        return 0 if good else _FAILED
    print(_row(("check", "expected", "found"), "verdict"))
    for check in checks:
        print(_row((check.name, check.expected, check.found), check.verdict))
    bad = sum(not check.good for check in checks)
    print(f"{version.uri}: " + (f"{bad} do not hold." if bad else f"all {len(checks)} hold."))
    return 0 if good else _FAILED


def _row(cells: Sequence[str], verdict: str) -> str:
    cut = (
        (cell if len(cell) <= width else f"{cell[: width - 1]}…").ljust(width)
        for cell, width in zip(cells, _WIDTHS, strict=True)
    )
    return f"{'  '.join(cut)}  {verdict}"


def version_of(options: argparse.Namespace) -> tuple[str, str]:
    """Return the address of the version that is meant, and the store."""
    return _version(options)[:2]


def _version(options: argparse.Namespace) -> tuple[str, str, ApprovalSpec | None]:
    """Return the version, the store, and the approval section of the project's policy."""
    if options.target.startswith(_REGISTERED):
        if getattr(options, "version", None) is not None:
            raise UsageError("the address of a version has its number already", where="--version")
        tracking_uri, project = store_of(options)
        name = re.split("[/@]", options.target.removeprefix(_REGISTERED))[0]
        known = project is not None and project.name == name
        return options.target, tracking_uri, project.gate.approval if project and known else None
    found = locate(Path(options.target))
    number = getattr(options, "version", None)
    place = f"@{options.alias}" if number is None else f"/{number}"
    uri = f"{_REGISTERED}{found.project.name}{place}"
    return uri, options.tracking_uri or found.registry, found.project.gate.approval


def _model(options: argparse.Namespace) -> tuple[str, str]:
    """Return the registered model whose audit log to show, and the store."""
    if options.model:
        return options.model, store_of(options)[0]
    found = locate(options.project or FILE)
    return found.project.name, options.tracking_uri or found.registry
