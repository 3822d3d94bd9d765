"""Score every row of a source by a registered version: streamed, whole or gone on with."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock.captures.places import LocalPlace, place_at
from penstock.common.secrets import shown
from penstock.data.engine import EngineSpec, opened
from penstock.data.spec import SourceSpec
from penstock.errors import InputError, IntegrityError
from penstock.records.scores import OnError, Plan, Scores, ScoringVersion
from penstock.registry.versions import Version
from penstock.scoring.destination import Destination, FolderDestination, require_same
from penstock.scoring.partitions import no_folders
from penstock.scoring.pieces import Files
from penstock.scoring.request_ids import kept_columns
from penstock.scoring.run import Loaded, Run
from penstock.scoring.source import Source
from penstock.scoring.spec import PART_ROWS
from penstock.scoring.sql_destination import SqlDestination, is_database
from penstock.scoring.version import UNAPPROVED, recorded, resolve
from penstock.serving.columns import UnseenPolicy


@dataclass(frozen=True)
class Order:
    """What is to be scored, by what, and where to.

    Attributes:
        model: `models:/NAME@ALIAS` or `models:/NAME/NUMBER`.
        data: The source, as `ingest` takes it.
        out: A folder, local or in a store, or a database as a SQLAlchemy URL.
        form: Of the parts in a folder: parquet or csv.
        partition_by: Columns that are written whose values name folders; a database takes none.
        table: Of a database.
        run: Names this scoring; a database needs it.
        keep: Columns of the source that stand before the predictions.
        request_ids: Whether the rows' ids are written too, by which labels find them.
        on_error: Whether a row that the server would refuse ends the scoring, or is set aside.
        unseen: What becomes of a category's value that training did not see.
        explain: Whether each row is explained.
        part_rows: Rows of the source in a part.
        capture: Address where rows are captured for the monitor; empty: none are.
        capture_sample: Share of the rows that are.
        unapproved: Take a version that was named by number although it is not approved.
        tracking_uri: The MLflow store; empty takes MLFLOW_TRACKING_URI.
        engine: What answers the rows; None: this process. The output is the same, to the last bit.
    """

    model: str
    data: SourceSpec
    out: str
    form: str = "parquet"
    partition_by: tuple[str, ...] = ()
    table: str = "scores"
    run: str = ""
    keep: tuple[str, ...] = ()
    request_ids: bool = False
    on_error: OnError = "fail"
    unseen: UnseenPolicy = "accept"
    explain: bool = False
    part_rows: int = PART_ROWS
    capture: str = ""
    capture_sample: float = 1.0
    unapproved: bool = False
    tracking_uri: str = ""
    engine: EngineSpec | None = None


def score(order: Order, *, again: bool = False) -> Scores:
    """Score every row of a source.

    Rows stream through: memory does not grow with the source. What is written are parts, each whole
    or absent; a scoring that was killed goes on behind the last one, if the same is asked for.

    Args:
        order: What to score.
        again: The same run may have ended just before its record was handed on: what is whole at
            the destination under its name is returned, and not refused.

    Returns:
        The record, which is written last.

    Raises:
        InputError: If a row is refused and `on_error` is fail; if source or destination cannot be
            used, or the source holds other rows than when it was begun.
        NotApprovedError: If the version may not score.
        IntegrityError: If its files, or rows that were appended, are not what was recorded.
        MissingLibraryError: If the engine is Dask and that is not installed.
        ServiceError: If the registry, a store or a database does not answer, or workers of the
            engine cannot be started, or die again and again.
    """
    with _destination(order) as destination:
        whole = destination.whole() if again and order.run else None
        if whole is not None and _is_of(whole, order):
            return whole
        begun = destination.begun()
        asked = _asked(order, begun)
        # An alias is no number, also where a scoring that goes on has resolved it.
        unapproved = order.unapproved and "@" not in order.model
        version, admitted = resolve(asked, tracking_uri=order.tracking_uri, unapproved=unapproved)
        # An engine that cannot start leaves nothing at the destination.
        with (
            opened(order.engine) as each,
            TemporaryDirectory(prefix="penstock-score-") as scratch,
        ):
            loaded = _load(version, Path(scratch) / "model", order)
            known = recorded(
                version,
                asked=order.model,
                admitted=admitted,
                runtime=loaded.scorer.runtime,
                dataset=loaded.scorer.record.dataset_version,
            )
            plan = _plan(order, version=begun.version if begun else known)
            if begun is not None:
                require_same(begun, plan, where=shown(order.out, where="--out"))
                plan = begun.model_copy(update={"version": _same_files(begun.version, known)})
            source = Source(order.data, loaded.scorer.record, keep=order.keep)
            where = shown(order.out, where="--out")
            run = Run(
                plan,
                loaded,
                source,
                destination,
                where=where,
                goes_on=begun is not None,
                each=each,
            )
            return run.all(beside=Path(scratch) / "source")


def _is_of(whole: Scores, order: Order) -> bool:
    """Return whether a record is of this run, which asked for the same."""
    source = shown(order.data.uri, where="--data")
    found = (whole.run, whole.version.asked, whole.source, whole.on_error, whole.explained)
    asked = (order.run, order.model, source, order.on_error, order.explain)
    return found == asked and whole.partition_by == order.partition_by


@contextlib.contextmanager
def _destination(order: Order) -> Iterator[Destination]:
    if not is_database(order.out):
        shown_out = shown(order.out, where="--out")
        place = place_at(order.out)
        if isinstance(place, LocalPlace):
            _require_folder(place.root)
        folder = FolderDestination(
            place, form=order.form, shown=shown_out, partition_by=order.partition_by
        )
        try:
            yield folder
        finally:
            folder.close()
        return
    if order.partition_by:
        raise no_folders(where="--partition-by")
    if not order.run:
        raise InputError(
            "a database needs the name of the run, under which rows are appended once",
            where="--run",
            remedy="Name it, for example by the day: --run 2026-11-29.",
        )
    session = SqlDestination(order.out, table=order.table, run=order.run)
    try:
        yield session
    finally:
        session.close()


def _require_folder(path: Path) -> None:
    """Raise InputError if a file is there, or the folder could not be made or written."""
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    what = "cannot be written" if there.is_dir() else "is a file, and not a folder"
    raise InputError(f"{there} {what}", where=str(path), remedy="Name another destination.")


def _asked(order: Order, begun: Plan | None) -> str:
    """Return the version's address: of a scoring that goes on, the one that it began with."""
    if begun is None:
        return order.model
    if begun.version.asked != order.model:
        raise InputError(
            f"the scoring that was begun there was asked for {begun.version.asked}",
            where=order.model,
            remedy="Ask for the same to go on with it, or name another destination.",
        )
    return begun.version.uri


def _same_files(begun: ScoringVersion, now: ScoringVersion) -> ScoringVersion:
    """Return the version that a scoring goes on with, admitted as it was, or as it is by a flag.

    Raises:
        IntegrityError: If what answers under its number is not what answered before.
    """
    for field in ("model", "export", "runtime"):
        before, found = getattr(begun, field), getattr(now, field)
        if before != found:
            raise IntegrityError(
                f"the scoring was begun with {field} {before or 'none'}, and {now.uri} has "
                f"{found or 'none'} now",
                where=now.uri,
                remedy="Score it into another destination.",
            )
    return now if now.admitted == UNAPPROVED else begun


def _load(version: Version, folder: Path, order: Order) -> Loaded:
    from penstock import model
    from penstock.registry import versions

    versions.fetch(version.uri, tracking_uri=order.tracking_uri, destination=folder)
    keep = kept_columns(order.keep, ids=order.request_ids)
    files = Files(folder, version.model, version.export, keep=keep, explain=order.explain)
    scorer = files.scorer()
    levels = scorer.record.levels
    if order.unseen == "reject" and levels is None:
        raise InputError(
            "this model does not hold the values that its categories were trained with",
            where="--unseen reject",
            remedy="Train it again with this release of Penstock, or accept unseen values.",
        )
    known = {level.column: frozenset(level.values) for level in levels or () if level.complete}
    return Loaded(
        files=files,
        scorer=scorer,
        levels=known if order.unseen == "reject" else {},
        background=model.background(folder),
    )


def _plan(order: Order, *, version: ScoringVersion) -> Plan:
    started = datetime.now(UTC)
    return Plan(
        run=order.run or f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        version=version,
        source=shown(order.data.uri, where="--data"),
        settings=order.data.model_dump(mode="json", exclude={"uri"}, exclude_defaults=True),
        keep=order.keep,
        request_ids=order.request_ids,
        on_error=order.on_error,
        unseen=order.unseen,
        explain=order.explain,
        part_rows=order.part_rows,
        form="sql" if is_database(order.out) else order.form,
        partition_by=order.partition_by,
        table=order.table if is_database(order.out) else "",
        capture=order.capture,
        capture_sample=order.capture_sample,
        started=started,
    )
