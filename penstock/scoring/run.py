"""One batch scoring from its first row, or from where it stopped, to its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import penstock
from penstock.common.progress import say
from penstock.data.engine import Each, here
from penstock.data.hashing.digest import RowDigest
from penstock.errors import InputError
from penstock.records.dataset import Column
from penstock.records.scores import Plan, ScoredPart, Scores
from penstock.scoring.answers import PREDICTION, Answered, Answerer
from penstock.scoring.captured import BatchCapture
from penstock.scoring.destination import Content, Destination
from penstock.scoring.pieces import Answer, Files, Piece, add, answered
from penstock.scoring.refusals import RefusedRow, Tally
from penstock.scoring.request_ids import kept_columns, with_ids
from penstock.scoring.source import Rows, Source
from penstock.serving.explaining import lacks_background

if TYPE_CHECKING:
    from penstock.serving.prediction import Scorer


@dataclass(frozen=True)
class Loaded:
    """A version as it answers.

    Attributes:
        files: From which each process of an engine loads it.
        scorer: What computes.
        levels: Values that training saw, where others are refused.
        background: Rows that others are explained against.
    """

    files: Files
    scorer: Scorer
    levels: Mapping[str, frozenset[str]]
    background: Mapping[str, list[Any]]


class Run:
    """Scores a source into a destination.

    Args:
        plan: What was asked for.
        loaded: The version.
        source: The rows.
        destination: Where they go.
        where: Its address, for people.
        goes_on: Whether the destination has noted the plan. Else that is done once the source has
            given its first rows: one that cannot be read, or lacks a column, leaves nothing there.
        each: The engine that answers the rows. Another than this process answers a part while the
            next one is read; the result is the same, to the last bit.

    Raises:
        InputError: If rows are to be explained and the version carries none to compare with, or a
            column that is kept has the name of one that is made.
    """

    def __init__(
        self,
        plan: Plan,
        loaded: Loaded,
        source: Source,
        destination: Destination,
        *,
        where: str,
        goes_on: bool,
        each: Each = here,
    ) -> None:
        self._plan, self._source, self._destination = plan, source, destination
        self._where, self._goes_on = where, goes_on
        self._record = loaded.scorer.record
        lacking = lacks_background(loaded.scorer, loaded.background) if plan.explain else ""
        if lacking:
            raise InputError(lacking, where="--explain")
        self._answerer = Answerer(
            loaded.scorer,
            keep=kept_columns(plan.keep, ids=plan.request_ids),
            levels=loaded.levels,
            explainer=loaded.files.explainer(loaded.scorer),
        )
        self._files, self._each = loaded.files, each
        self._capture = BatchCapture(plan, self._record) if plan.capture else None
        self._columns: tuple[Column, ...] = ()
        self._done: list[ScoredPart] = []
        self._parts: list[ScoredPart] = []
        self._begun = 0

    def all(self, *, beside: Path) -> Scores:
        """Score all rows, write the record last, and return it.

        Args:
            beside: Files from elsewhere are copied into a folder beside it meanwhile.
        """
        with self._source.opened(beside=beside) as blocks:
            parts = self._read(blocks())
            for part in parts if self._each is here else self._answered_behind(parts):
                self._close(part)
        if not self._parts:
            raise InputError(
                "there are no rows",
                where=self._plan.source,
                remedy="A source needs at least one row.",
            )
        if len(self._done) > len(self._parts):
            raise self._other_rows(self._done[len(self._parts)])
        scores = self._scores()
        if self._capture is not None:
            self._capture.finish(scores.parts)
        self._destination.finish(scores)
        return scores

    def _read(self, blocks: Iterator[Rows]) -> Iterator[_Part]:
        """Yield the parts of the source; without an engine they are answered as they are read."""
        part: _Part | None = None
        for rows in self._pieces(blocks):
            part = part or self._begin(rows)
            self._take(rows, part)
            if part.rows == self._plan.part_rows:
                yield part
                part = None
        if part is not None:
            yield part

    def _answered_behind(self, parts: Iterator[_Part]) -> Iterator[_Part]:
        """Yield parts that the engine has answered; while it does, the next one is read."""
        with ThreadPoolExecutor(1) as behind:
            last: tuple[_Part, Future[list[Answer]]] | None = None
            try:
                for part in parts:
                    answers = behind.submit(self._answers, part.pieces)
                    if last is not None:
                        yield self._filled(*last)
                    last = part, answers
            except InputError:
                # A row that is refused is no reason to lose the part before it.
                if last is not None:
                    yield self._filled(*last)
                raise
            if last is not None:
                yield self._filled(*last)

    def _answers(self, pieces: list[Piece]) -> list[Answer]:
        shares = self._each(self._files, pieces)
        return sorted((one for share in shares for one in share), key=lambda one: one.number)

    def _filled(self, part: _Part, answers: Future[list[Answer]]) -> _Part:
        for piece, answer in zip(part.pieces, answers.result(), strict=True):
            self._fill(part, piece, answer)
        part.pieces.clear()
        return part

    def _pieces(self, blocks: Iterator[Rows]) -> Iterator[Rows]:
        """Yield the rows in pieces that do not cross the end of a part."""
        at, size = 0, self._plan.part_rows
        for rows in blocks:
            start = 0
            while start < rows.count:
                count = min(rows.count - start, size - at % size)
                piece = rows.slice(start, count)
                ids = self._plan.request_ids
                yield with_ids(piece, run=self._plan.run, before=at) if ids else piece
                start += count
                at += count

    def _begin(self, rows: Rows) -> _Part:
        """Begin the next part; with the first rows the columns are known, and what is whole."""
        if not self._columns:
            self._columns = self._answerer.columns(rows)
            self._destination.prepare(self._columns)
            if not self._goes_on:
                self._destination.begin(self._plan)
            self._done = self._destination.parts()
            if self._done:
                say(f"going on behind {len(self._done)} parts that are whole")
        number, self._begun = self._begun, self._begun + 1
        return _Part(
            number=number,
            start=number * self._plan.part_rows,
            read=RowDigest(self._record.columns),
            written=RowDigest(self._columns),
            known=self._done[number] if number < len(self._done) else None,
        )

    def _take(self, rows: Rows, part: _Part) -> None:
        """Take a piece into its part; of one that is whole only the rows are checked."""
        before = part.start + part.rows
        self._require_types(rows, before)
        found = self._answerer.refused_only(rows)
        part.rows += rows.count
        self._refuse(part, found, before)
        places = np.arange(before + 1, before + rows.count + 1)
        piece = Piece(
            number=len(part.pieces),
            rows=found,
            places=np.delete(places, [one.row for one in found.refused]),
            written=self._columns,
            again=part.known is not None,
        )
        if self._each is here:
            self._fill(part, piece, *answered([piece], answerer=self._answerer))
        else:
            part.pieces.append(piece)

    def _fill(self, part: _Part, piece: Piece, answer: Answer) -> None:
        """Add what was answered to the part."""
        add(part.read, piece.rows.typed.num_rows, answer.input_sums)
        if answer.table is None:
            return
        add(part.written, answer.table.num_rows, answer.output_sums)
        part.tables.append(answer.table)
        if self._capture is not None:
            labels = answer.table.column(PREDICTION).to_pylist()
            self._capture.add(answer.of(piece), labels=labels, rows=piece.places)

    def _require_types(self, rows: Rows, before: int) -> None:
        """Refuse a column that is kept and changes its type: its rows would not fit together."""
        for first, now in zip(self._columns, self._answerer.columns(rows), strict=True):
            if now.type != first.type:
                raise InputError(
                    f"the column {now.name!r}, which is kept, was {first.type} at first and is "
                    f"{now.type} from row {before + 1:,} of the source on",
                    where=self._plan.source,
                    remedy="Give it one type, in a query by a cast, or do not keep it.",
                )

    def _refuse(self, part: _Part, answered: Answered, before: int) -> None:
        refused = [replace(one, row=before + one.row + 1) for one in answered.refused]
        if refused and self._plan.on_error == "fail":
            first = refused[0]
            column = f", column {first.column!r}" if first.column else ""
            raise InputError(
                f"{first.reason}; the server would refuse this row, {first.row:,} of the source",
                where=f"{first.where}{column}",
                remedy="Correct it, or set such rows aside with --on-error quarantine.",
            )
        part.refused += refused
        part.tally.add(refused)

    def _close(self, part: _Part) -> None:
        """Write a part, or check that one that is whole was made of the same rows."""
        import pyarrow as pa

        known = part.known
        if known is not None:
            found = (part.rows, part.read.rows, part.read.sums)
            if (known.rows, known.scored, known.input_sums) != found:
                raise self._other_rows(known)
            self._parts.append(known)
            return
        captured = 0
        if self._capture is not None:
            before = sum(each.captured for each in self._parts)
            captured = self._capture.write(part.number, before=before)
        note = ScoredPart(
            number=part.number,
            start=part.start,
            rows=part.rows,
            scored=part.read.rows,
            input_sums=part.read.sums,
            output_sums=part.written.sums,
            refused=part.tally.counts(),
            captured=captured,
        )
        content = Content(pa.Table.from_batches(part.tables), part.refused)
        self._parts.append(self._destination.write(note, content))
        done = sum(each.rows for each in self._parts)
        say(f"{done:,} rows read, {sum(each.scored for each in self._parts):,} of them scored")

    def _other_rows(self, part: ScoredPart) -> InputError:
        return InputError(
            f"the source holds other rows than when part {part.number} was scored (rows "
            f"{part.start + 1:,} to {part.start + part.rows:,})",
            where=self._plan.source,
            remedy="Score it into another destination. A query needs an ORDER BY to give rows in "
            "the same order again.",
        )

    def _scores(self) -> Scores:
        tally = Tally()
        for part in self._parts:
            tally.add_counts(part.refused)
        plan, parts = self._plan, self._parts
        columns = tuple(Column(name=c.name, type=c.type) for c in self._record.columns)
        return Scores(
            run=plan.run,
            version=plan.version,
            source=plan.source,
            source_notes=self._source.notes,
            input_columns=columns,
            input_content=_content(columns, parts, [part.input_sums for part in parts]),
            rows=sum(part.rows for part in parts),
            scored=sum(part.scored for part in parts),
            refused=tally.counts(),
            on_error=plan.on_error,
            unseen=plan.unseen,
            explained=plan.explain,
            destination=self._where,
            form=plan.form,
            partition_by=plan.partition_by,
            output_columns=self._columns,
            output_content=_content(self._columns, parts, [part.output_sums for part in parts]),
            parts=tuple(parts),
            captured=sum(part.captured for part in parts),
            capture=plan.capture,
            started=plan.started,
            finished=datetime.now(UTC),
            penstock=penstock.__version__,
        )


@dataclass
class _Part:
    """The part that is being scored.

    Attributes:
        known: Its note, where it is whole already.
        pieces: Those that wait for the engine.
    """

    number: int
    start: int
    read: RowDigest
    written: RowDigest
    known: ScoredPart | None
    rows: int = 0
    pieces: list[Piece] = field(default_factory=list)
    tables: list[Any] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


def _content(
    columns: tuple[Column, ...], parts: list[ScoredPart], sums: list[tuple[int, int]]
) -> str:
    """Return the content digest of all parts' rows."""
    digest = RowDigest(columns)
    for part, of_part in zip(parts, sums, strict=True):
        add(digest, part.scored, of_part)
    return digest.content()
