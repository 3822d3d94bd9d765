"""Pieces of a part: what is answered of one, here or by a worker of the engine."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.data.hashing.digest import CellHasher, RowDigest, hash_rows
from penstock.data.types.storage import to_storage
from penstock.records.dataset import Column
from penstock.scoring.answers import Answered, Answerer, unanswered
from penstock.serving.explaining import Explainer

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from penstock.serving.prediction import Scorer


@dataclass(frozen=True)
class Piece:
    """Rows of a part that are to be answered, one after another.

    Attributes:
        number: Its place in the part.
        rows: The rows, not answered yet.
        places: The place of each in the source, from 1; they stay with who reads.
        written: The columns that are written.
        again: Whether they were answered and written before: they are only looked at.
    """

    number: int
    rows: Answered
    places: np.ndarray
    written: tuple[Column, ...]
    again: bool

    def __reduce__(self) -> tuple[Any, ...]:
        # A slice of a batch would be pickled with all rows of the batch.
        kept, typed = _packed(self.rows.table), _packed(self.rows.typed)
        return _piece, (self.number, kept, typed, self.written, self.again)


@dataclass(frozen=True)
class Answer:
    """What came of a piece.

    Attributes:
        number: Its place in the part.
        table: What is written; None: it was written before.
        scores: See `penstock.scoring.answers.Answered`, like the next one.
        vectors: Likewise.
        input_sums: Sums of the hashes of the model's columns.
        output_sums: Sums of the hashes of what is written.
    """

    number: int
    table: pa.RecordBatch | None
    scores: np.ndarray | None
    vectors: np.ndarray | None
    input_sums: tuple[int, int]
    output_sums: tuple[int, int]

    def of(self, piece: Piece) -> Answered:
        """Return the piece's rows with their answer."""
        assert self.table is not None
        assert self.scores is not None
        found = replace(piece.rows, table=self.table, scores=self.scores)
        return replace(found, vectors=self.vectors)


@dataclass(frozen=True)
class Files:
    """A version's files, from which each process loads what answers.

    Attributes:
        folder: Where they are, for every process of the engine.
        digest: Their digest.
        export: That of the ONNX form; empty: scikit-learn answers.
        keep: Columns of the source that stand before the answer.
        explain: Whether each row is explained.
    """

    folder: Path
    digest: str
    export: str
    keep: tuple[str, ...]
    explain: bool

    def scorer(self) -> Scorer:
        """Load what computes.

        Raises:
            InputError: If a file is absent or unreadable.
            IntegrityError: If a digest differs, or the model is not one that may be loaded.
        """
        from penstock.serving.loading import load_scorer

        return load_scorer(self.folder, digest=self.digest, export=self.export)

    def explainer(self, scorer: Scorer) -> Explainer | None:
        """Return what explains the rows; None: nothing does."""
        from penstock import model

        return Explainer(scorer, model.background(self.folder)) if self.explain else None

    def __call__(self, pieces: Sequence[Piece]) -> list[Answer]:
        """Answer pieces in a process of the engine, which loads the version once."""
        return answered(pieces, answerer=_loaded(self))


def answered(pieces: Sequence[Piece], *, answerer: Answerer) -> list[Answer]:
    """Return what a version answers to pieces.

    Linear algebra has one thread, as in a server: in its last digits a sum depends on their number.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        return [_answered(piece, answerer) for piece in pieces]


def _answered(piece: Piece, answerer: Answerer) -> Answer:
    rows = piece.rows
    read = sums_of(answerer.inputs, rows.typed)
    if piece.again:
        return Answer(piece.number, None, None, None, read, (0, 0))
    found = answerer.complete(rows)
    return Answer(
        piece.number,
        found.table,
        found.scores,
        found.vectors,
        read,
        sums_of(piece.written, found.table),
    )


def sums_of(columns: Sequence[Column], batch: pa.RecordBatch) -> tuple[int, int]:
    """Return the sums of the hashes of a batch's rows; those of two batches add up."""
    digest = RowDigest(columns)
    if batch.num_rows:
        pairs = zip(columns, batch.columns, strict=True)
        hashers = ((CellHasher(column), column, array) for column, array in pairs)
        cells = ((one, one.hashes(to_storage(array, column))) for one, column, array in hashers)
        digest.add(hash_rows(cells, rows=batch.num_rows))
    return digest.sums


def add(digest: RowDigest, rows: int, sums: tuple[int, int]) -> None:
    """Add rows to a digest of which the sums of the hashes are known."""
    digest.rows += rows
    first, second = digest.sums
    digest.sums = ((first + sums[0]) % (1 << 64), (second + sums[1]) % (1 << 64))


@functools.lru_cache(maxsize=1)
def _loaded(files: Files) -> Answerer:
    scorer = files.scorer()
    return Answerer(scorer, keep=files.keep, explainer=files.explainer(scorer))


def _packed(batch: pa.RecordBatch) -> tuple[pa.Schema, bytes]:
    return batch.schema, batch.serialize().to_pybytes()


def _piece(
    number: int,
    kept: tuple[pa.Schema, bytes],
    typed: tuple[pa.Schema, bytes],
    written: tuple[Column, ...],
    again: bool,
) -> Piece:
    import numpy as np

    rows = unanswered(_unpacked(typed), _unpacked(kept))
    return Piece(number, rows, np.empty(0, np.int64), written, again)


def _unpacked(packed: tuple[pa.Schema, bytes]) -> pa.RecordBatch:
    import pyarrow as pa

    schema, data = packed
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)
