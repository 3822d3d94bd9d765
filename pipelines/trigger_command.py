"""The command that starts the release when something happens: `penstock trigger`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import ServiceError, UsageError
from penstock.pipelines.located import Located, locate
from penstock.pipelines.outcomes import EXIT_CODES
from penstock.pipelines.submission_options import add_submission_options, submission_arguments

if TYPE_CHECKING:
    import socket

    from penstock.triggers.releases import Command
    from penstock.triggers.spec import TriggerSpec
    from penstock.triggers.store import TriggerStore
    from penstock.triggers.trigger import Trigger, TriggerFolder

_SHORTEST_TOKEN = 16
_PATIENCE = 7 * 86_400
"""Seconds that Kubeflow may be away while a run on it is followed."""


def add_trigger_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "trigger",
        help="start the release when events come or files are dropped",
        description=_trigger.__doc__,
        epilog="What is not given is as the section trigger of the project file has it. Options of "
        "Kubeflow count with --submit.",
    )
    add_submission_options(command)
    command.add_argument(
        "--listen", metavar="HOST:PORT", help="take CloudEvents there; port 0: a free one"
    )
    command.add_argument(
        "--watch",
        action="append",
        metavar="URI",
        help="a folder, or a prefix of an object store, where files are dropped; may be repeated",
    )
    command.add_argument(
        "--type",
        action="append",
        dest="types",
        metavar="TYPE",
        help="take events of this type alone; may be repeated",
    )
    command.add_argument(
        "--marker", metavar="NAME", help="a file that is written last, like _SUCCESS, alone counts"
    )
    for name, words in (
        ("every", "between two looks at what is watched"),
        ("quiet", "without a new event after which the release starts"),
        ("wait", "after the first event after which it starts in any case"),
    ):
        command.add_argument(f"--{name}", metavar="TIME", help=f"time {words}: 90s, 15m, 1h")
    command.add_argument(
        "--submit", action="store_true", default=None, help="run the release on Kubeflow"
    )
    command.add_argument("--status", action="store_true", help="show what it did, and end")
    command.add_argument(
        "--resume", action="store_true", help="let releases start again after refusals, and end"
    )
    command.set_defaults(command=_trigger)


def _trigger(options: argparse.Namespace) -> int:
    """Start the release pipeline when events come or files are dropped, until it is interrupted."""
    from penstock.triggers.trigger import TriggerFolder

    found = locate(options.project, settings=options.settings)
    folder = TriggerFolder(found.home, found.project.name)
    if options.status or options.resume:
        from penstock.pipelines import trigger_status

        command = trigger_status.resume if options.resume else trigger_status.status
        return command(folder, service=found.project.name)
    spec = _spec(found, options)
    token = _token(spec)
    with _held(folder), contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listener(spec)) if spec.address else None
        trigger = _trigger_of(found, spec, options, folder=folder)
        stack.callback(trigger.store.close)
        return _run(trigger, spec, token=token, listener=listener)


def _run(trigger: Trigger, spec: TriggerSpec, *, token: str, listener: socket.socket | None) -> int:
    from penstock.triggers.process import run

    # Before anything is promised: what is wrong with a place ends the command.
    for line in trigger.look():
        _say(line)
    for place in trigger.places:
        print(f"Watching {place.name} every {spec.every}.")
    if listener is not None:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Taking events at http://{shown}:{port}.")
    print(
        f"A release of {trigger.service} starts {spec.quiet} after the last event, at most "
        f"{spec.wait} after the first. End it with Ctrl-C.",
        flush=True,
    )
    well = run(trigger, spec, token=token, listener=listener, say=_say)
    release = trigger.store.open_release()
    if release is not None:
        print(
            f"Release {release.number} goes on by itself. Its log: "
            f"{trigger.releases.log(release.number)}"
        )
    waiting = trigger.store.waiting().count
    if waiting:
        print(f"{waiting:,} events wait for the next start of this command.")
    return 0 if well else EXIT_CODES["failed"]


def _say(line: str) -> None:
    print(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}  {line}", flush=True)


def _spec(found: Located, options: argparse.Namespace) -> TriggerSpec:
    from penstock.errors import InputError
    from penstock.triggers.spec import TriggerSpec

    names = ("listen", "watch", "types", "marker", "every", "quiet", "wait", "submit")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        return TriggerSpec.parse(found.project.trigger.model_dump() | given, where="the options")
    except InputError as error:
        raise UsageError(error.what, where=error.where, remedy=error.remedy) from error


def _token(spec: TriggerSpec) -> str:
    """Return the token that senders must show; empty: none.

    Raises:
        UsageError: If it is too short, or other machines reach the address and there is none.
    """
    from penstock.common.secrets import resolve
    from penstock.redaction import keep
    from penstock.serving.feedback_access import is_loopback

    if spec.address is None:
        return ""
    token = resolve(spec.token, where="trigger.token")
    if token:
        keep(token)
    if token and len(token) < _SHORTEST_TOKEN:
        raise UsageError(
            f"the token has fewer than {_SHORTEST_TOKEN} characters",
            where="trigger.token",
            remedy="Make one with: openssl rand -hex 32.",
        )
    if not token and not is_loopback(spec.address[0]):
        raise UsageError(
            f"other machines reach {spec.address[0]}, and senders of events need to show no token",
            where="trigger.token",
            remedy="Set it by reference, for example ${env:TRIGGER_TOKEN}, or listen on 127.0.0.1.",
        )
    return token


@contextlib.contextmanager
def _held(folder: TriggerFolder) -> Iterator[None]:
    from penstock.processes.lock import HeldError, held

    try:
        with held(folder.lock, now=datetime.now(UTC)):
            yield
    except HeldError as error:
        raise ServiceError(
            f"{error.holder} is a trigger of this project already",
            where=str(folder.path),
            remedy="One is enough. See what it did: penstock trigger --status.",
        ) from error


@contextlib.contextmanager
def _listener(spec: TriggerSpec) -> Iterator[socket.socket]:
    from penstock.triggers.process import listener_at

    assert spec.address is not None
    host, port = spec.address
    try:
        listener = listener_at(host, port)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be taken: {error.strerror}",
            where="--listen",
            remedy="Name another port, or 0 for a free one.",
        ) from error
    with listener:
        yield listener


def _trigger_of(
    found: Located, spec: TriggerSpec, options: argparse.Namespace, *, folder: TriggerFolder
) -> Trigger:
    from penstock.common.durations import seconds_of
    from penstock.data.sources.addresses import is_local, local_path
    from penstock.triggers.dropped import WatchedPlace
    from penstock.triggers.releases import Releases
    from penstock.triggers.store import TriggerStore
    from penstock.triggers.trigger import Trigger

    store = TriggerStore(folder.store, remember=spec.remember)
    # Of an option it is relative to where the command is given, of the file to the file.
    beside = Path.cwd() if options.watch else found.folder
    return Trigger(
        service=found.project.name,
        folder=folder,
        store=store,
        releases=Releases(
            store=store,
            folder=folder.releases,
            command=_command(found, spec, options, store=store),
            quiet=seconds_of(spec.quiet),
            wait=seconds_of(spec.wait),
        ),
        places=[
            WatchedPlace(
                beside / local_path(address) if is_local(address) else address,
                store=store,
                marker=spec.marker,
                remember=spec.remember,
            )
            for address in spec.watch
        ],
        notify=found.project.notify,
        beside=found.folder,
    )


def _command(
    found: Located, spec: TriggerSpec, options: argparse.Namespace, *, store: TriggerStore
) -> Callable[[int, Path], Command]:
    from penstock.triggers.releases import Command

    module = "penstock.pipelines"
    if spec.submit:
        given = submission_arguments(options)

        def submit(number: int, summary: Path) -> Command:
            name = f"{found.project.name} trigger {store.identity}-{number}"
            how = ["--wait", "--once", "--run-name", name, "--patience", str(_PATIENCE)]
            words = ["submit", *given, *how, "--summary", str(summary)]
            return Command(module, words, resumable=True)

        return submit
    settings = [f"--set={setting}" for setting in options.settings]

    def run(_: int, summary: Path) -> Command:
        words = ["run", str(options.project.absolute()), *settings, "--summary", str(summary)]
        return Command(module, words)

    return run
