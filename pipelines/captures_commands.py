"""The commands on captured rows: `penstock captures list|export|erase|prune|sink`."""

from __future__ import annotations

import argparse
import contextlib
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import InputError, UsageError
from penstock.pipelines.located import Located, add_project_argument, locate

if TYPE_CHECKING:
    from penstock.monitoring.store.answered import Answered

_NAMELESS = "-"


def add_captures_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `penstock`."""
    captures = commands.add_parser("captures", help="rows that were answered, and their labels")
    actions = captures.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", help="show what there is, and what was lost", description=_list.__doc__
    )
    listing.set_defaults(command=_list)

    export = actions.add_parser(
        "export", help="write rows as Parquet that ingest takes", description=_export.__doc__
    )
    export.add_argument("-o", "--output", type=Path, default=Path("captured"), help="%(default)s")
    export.add_argument("--version", help="rows of this version alone")
    export.add_argument(
        "--labelled", action="store_true", help="only rows whose true label has come"
    )
    export.set_defaults(command=_export)

    labels = actions.add_parser(
        "labels", help="give captured rows their true labels", description=_labels.__doc__
    )
    labels.add_argument("table", metavar="TABLE", help="file, folder, glob or URL")
    labels.add_argument(
        "--id", default="request_id", metavar="COLUMN", help="column of the ids (%(default)s)"
    )
    labels.add_argument(
        "--label", default="", metavar="COLUMN", help="column of the labels (the project's target)"
    )
    labels.add_argument(
        "--row",
        default="",
        metavar="COLUMN",
        help="column of a row's index in its request, where requests have several",
    )
    labels.set_defaults(command=_labels)

    erase = actions.add_parser("erase", help="erase rows and labels", description=_erase.__doc__)
    erase.add_argument("--request", metavar="ID", help="those of this request")
    erase.add_argument(
        "--where", metavar="COLUMN=VALUE", help="those in which an input has a value"
    )
    erase.set_defaults(command=_erase)

    prune = actions.add_parser(
        "prune", help="remove what is too old or too much", description=_prune.__doc__
    )
    prune.set_defaults(command=_prune)

    sink = actions.add_parser(
        "sink", help="take the events of KServe's request logger", description=_sink.__doc__
    )
    sink.add_argument("--port", type=int, required=True, help="port to listen on")
    sink.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    sink.add_argument("--model-version", default="1", help="version, where none is said")
    sink.add_argument(
        "--columns", default="", metavar="A,B", help="names of inputs that are sent without names"
    )
    sink.set_defaults(command=_sink)
    for action in (listing, export, labels, erase, prune, sink):
        add_project_argument(action)
        action.add_argument(
            "--at", default="", metavar="ADDRESS", help="the captures of this folder or address"
        )


def _list(options: argparse.Namespace) -> int:
    """Show folders and versions: files, rows, labels, rows lost, from when to when."""
    from penstock.captures.listing import listed

    source = source_of(options)
    found = listed(source)
    if not found:
        print(f"Nothing was captured at {source}.")
        return 0
    print("folder  version  files  rows  labels  dropped  unwritten  removed  from  to")
    for one in found:
        figures = (one.files, one.rows, one.labels, one.dropped, one.unwritten, one.removed)
        print(
            one.folder,
            one.version or _NAMELESS,
            *(f"{figure:,}" for figure in figures),
            one.first[:19] or _NAMELESS,
            one.last[:19] or _NAMELESS,
            sep="  ",
        )
    return 0


def _export(options: argparse.Namespace) -> int:
    """Write captured rows as Parquet: the inputs, and true labels in the target's column."""
    from penstock.captures.export import export

    found = locate(options.project)
    made = export(
        source_of(options, found),
        output=options.output,
        target=found.project.target,
        version=options.version,
        labelled=options.labelled,
    )
    print(
        f"Wrote {options.output}: {made.rows:,} rows, {made.labelled:,} of them with the true "
        f"label. {made.lost:,} rows were lost while they were captured, {made.erased:,} erased."
    )
    return 0


def _labels(options: argparse.Namespace) -> int:
    """Give captured rows of batches, and shipped ones of servers, their true labels.

    The labels are written beside the rows, each once, and the monitor reads them at its next look.
    """
    from penstock.captures.labels import LabelColumns, label_rows
    from penstock.data.spec import SourceSpec

    found = locate(options.project)
    columns = LabelColumns(
        request=options.id, label=options.label or found.project.target, row=options.row
    )
    done = label_rows(source_of(options, found), SourceSpec(uri=options.table), columns)
    print(f"Wrote {done.written:,} labels.")
    for count, what in (
        (done.before, "were there already"),
        (done.unknown, "are of no row that was captured there"),
        (done.missing, "rows of the table have no label yet"),
    ):
        if count:
            print(f"  {count:,} {what}")
    return 0


def _erase(options: argparse.Namespace) -> int:
    """Erase the rows and labels of a request, or those of rows in which an input has a value.

    What the monitor keeps of them until their labels come is erased with them.
    """
    if (options.request is None) == (options.where is None):
        raise UsageError(
            "what to erase is not said",
            remedy="Give either --request ID or --where COLUMN=VALUE.",
        )
    found = locate(options.project)
    with _kept_by_the_monitor(found) as answered:
        return _erased(options, source=source_of(options, found), answered=answered)


def _erased(options: argparse.Namespace, *, source: str | Path, answered: Answered) -> int:
    from penstock.captures.erasure import Row, erase_request, erase_where
    from penstock.monitoring.store.answered import keys_of_rows

    if options.request is not None:
        erased = erase_request(source, options.request)
        # The monitor can read them no more, so none comes back.
        scores = answered.erase_request(options.request)
    else:
        column, mark, value = options.where.partition("=")
        if not mark or not column:
            raise UsageError(
                f"{options.where!r} names no column and value",
                where="--where",
                remedy="Write COLUMN=VALUE, for example email=a@example.com.",
            )
        rows: list[Row] = []
        scores = 0

        def forget(those: Collection[Row]) -> None:
            nonlocal scores
            rows.extend(those)
            scores += answered.erase(keys_of_rows(those))

        erased = erase_where(source, column, value, before=forget)
        # Those that the monitor read meanwhile.
        scores += answered.erase(keys_of_rows(rows))
    kept = f", and {scores:,} scores that the monitor kept" if scores else ""
    print(
        f"Erased {erased.rows:,} rows and {erased.labels:,} labels in {erased.files:,} files{kept}."
    )
    _say_unclaimed(erased.unclaimed.removed)
    if erased.unclaimed.young:
        print(
            f"  Files that have no manifest yet and were not looked into: "
            f"{erased.unclaimed.young:,}. Erase again in an hour."
        )
    return 0


def _say_unclaimed(removed: int) -> None:
    if removed:
        print(
            f"  Removed besides: {removed:,} files of killed pods and erasures, without manifests."
        )


@contextlib.contextmanager
def _kept_by_the_monitor(found: Located) -> Iterator[Answered]:
    """Have the scores that the monitor keeps; on a cluster no look goes on meanwhile."""
    from penstock.monitoring.store.answered import Answered
    from penstock.monitoring.store.state import MonitorFolder

    project = found.project
    if project.deployment.router == "local" or not project.monitoring.state:
        yield Answered(MonitorFolder(found.home).storage)
        return
    from penstock.pipelines.monitor_command import cluster_monitor

    monitor = cluster_monitor(found, project.monitoring).monitor()
    with monitor.held():
        yield Answered(monitor.folder.storage)


def _prune(options: argparse.Namespace) -> int:
    """Remove shipped segments beyond the days and megabytes of deployment.kserve.captures."""
    from penstock.captures.retention import prune

    found = locate(options.project)
    settings = found.project.deployment.kserve.captures
    if not settings.days and not settings.megabytes:
        raise UsageError(
            "nothing says how much is kept",
            where="deployment.kserve.captures",
            remedy="Set days or megabytes there.",
        )
    pruned = prune(source_of(options, found), days=settings.days, megabytes=settings.megabytes)
    print(f"Removed {pruned.segments:,} segments with {pruned.rows:,} rows and labels.")
    _say_unclaimed(pruned.unclaimed)
    if pruned.unreadable:
        raise InputError(
            f"the manifests of {len(pruned.unreadable):,} segments cannot be read, so they were "
            "left, however old they are",
            where=pruned.unreadable[0],
            remedy="Restore them, or remove them with the segments' files.",
        )
    return 0


def _sink(options: argparse.Namespace) -> int:
    """Take events of KServe's request logger and capture their rows, until stopped."""
    from penstock.captures.files import Bounds
    from penstock.serving.sink import Sink, SinkSettings, run

    found = locate(options.project)
    settings = found.project.deployment.captures
    home = found.home / "serving" / found.project.name / "captures" / "sink"
    folder = Path(options.at) if options.at else home
    with contextlib.closing(_listener(options.host, options.port)) as listener:
        sink = Sink(
            folder,
            settings=SinkSettings(
                service=found.project.name,
                version=options.model_version,
                columns=[name.strip() for name in options.columns.split(",") if name.strip()],
                sample=settings.sample,
            ),
            bounds=Bounds.of(megabytes=settings.megabytes, days=settings.days),
        )
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Taking events at http://{shown}:{port} into {folder}.", flush=True)
        run(sink, host=host, port=port, listener=listener)
    return 0


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens there, before anything is promised."""
    from penstock.triggers.process import listener_at

    try:
        return listener_at(host, port)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be taken: {error.strerror}",
            where="--port",
            remedy="Name another port below 65536, or 0 for a free one.",
        ) from error


def source_of(options: argparse.Namespace, found: Located | None = None) -> str | Path:
    """Return the captures that `--at` names, or those of the project's service."""
    if options.at:
        return str(options.at)
    from penstock.rollout.captures import captures_of

    found = found or locate(options.project)
    project = found.project
    if project.monitoring.source == "batch":
        return found.beside(project.monitoring.captures)
    return captures_of(project.deployment, service=project.name, home=found.home)
