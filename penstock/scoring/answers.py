"""What a version answers to rows, as columns: labels and scores as its server says them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.data.types.storage import arrow_type, columns_of
from penstock.errors import InputError
from penstock.records.dataset import Column, ColumnType
from penstock.scoring.columns import scorer_arrays
from penstock.scoring.refusals import RefusedRow
from penstock.scoring.source import Rows
from penstock.serving.explaining import Explainer
from penstock.serving.prediction import Scorer, row_scores, without_score
from penstock.serving.request_errors import show

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTION, PROBABILITY, CONTRIBUTION, BASE = "prediction", "probability_", "shap_", "shap_base"
CHUNK = 8192
"""Rows that are scored at once: what a server takes in one request, and what stays in the cache."""


@dataclass(frozen=True)
class Answered:
    """Some rows, answered.

    Attributes:
        table: What is written of those that were scored.
        typed: Their columns of the model.
        scores: One score a row, as captures have it.
        vectors: One score a class for each row; None: there are no more than two.
        refused: The rows that were not.
    """

    table: pa.RecordBatch
    typed: pa.RecordBatch
    scores: np.ndarray
    vectors: np.ndarray | None
    refused: tuple[RefusedRow, ...]


def unanswered(
    typed: pa.RecordBatch, kept: pa.RecordBatch, refused: tuple[RefusedRow, ...] = ()
) -> Answered:
    """Return rows without an answer."""
    return Answered(table=kept, typed=typed, scores=np.empty(0), vectors=None, refused=refused)


class Answerer:
    """Answers rows as one version's server does.

    Args:
        scorer: The version.
        keep: Columns of the source that stand before the answer.
        levels: Values that training saw, by column: another one is refused. Empty: none is.
        explainer: Explains each row; None: none is explained.

    Raises:
        InputError: If a column that is kept has the name of one that is made, or two that are made
            have the same name.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        keep: Sequence[str],
        levels: Mapping[str, frozenset[str]] = {},
        explainer: Explainer | None = None,
    ) -> None:
        self._scorer = scorer
        self._record = scorer.record
        self._keep = tuple(dict.fromkeys(keep))
        self._levels = dict(levels)
        self._explainer = explainer
        names = [column.name for column in self.made]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise InputError(
                f"two columns that are made have the same name: {repeated[0]!r}",
                where="--explain" if explainer is not None else "",
                remedy="The model has a column or a class of a name that leads to it: score without"
                " --explain, or train with that column renamed.",
            )
        twice = set(names) & set(self._keep)
        if twice:
            raise InputError(
                f"a column that is kept has the name of one that is made: {min(twice)!r}",
                where="--keep",
                remedy="Rename it in the source, or leave it out.",
            )

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns of the model."""
        return self._record.columns

    @property
    def made(self) -> tuple[Column, ...]:
        """The columns that are made, in order."""
        record = self._record
        columns = [Column(name=PREDICTION, type=_label_type(record.classes, record.task))]
        columns += [
            Column(name=f"{PROBABILITY}{_spelled(label)}", type="number")
            for label in record.classes
        ]
        if self._explainer is not None:
            names = [BASE, *(f"{CONTRIBUTION}{column.name}" for column in record.columns)]
            columns += [Column(name=name, type="number") for name in names]
        return tuple(columns)

    def columns(self, rows: Rows) -> tuple[Column, ...]:
        """Return all columns that are written, those that are kept as these rows have them."""
        kept = columns_of(rows.kept.schema) if self._keep else ()
        return (*kept, *self.made)

    def answer(self, rows: Rows) -> Answered:
        """Return what is answered to rows, all of which may be refused."""
        return self.complete(self.refused_only(rows))

    def complete(self, found: Answered) -> Answered:
        """Return rows with their answer; there may be none."""
        made, scores, vectors = self._made(found.typed)
        return replace(found, table=self._table(found.table, made), scores=scores, vectors=vectors)

    def refused_only(self, rows: Rows) -> Answered:
        """Return which rows are refused, and the others without an answer."""
        refused = {one.row: one for one in rows.refused}
        for one in self._unseen(rows, refused):
            refused[one.row] = one
        typed, kept = rows.typed, rows.kept
        if refused:
            taken = np.ones(rows.count, dtype=bool)
            taken[list(refused)] = False
            places = np.flatnonzero(taken)
            typed, kept = typed.take(places), kept.take(places)
        return unanswered(typed, kept, tuple(refused[row] for row in sorted(refused)))

    def _made(
        self, typed: pa.RecordBatch
    ) -> tuple[list[list[np.ndarray]], np.ndarray, np.ndarray | None]:
        parts = [self._chunk(typed.slice(at, CHUNK)) for at in range(0, typed.num_rows, CHUNK)]
        if not parts:
            return [], np.empty(0), None
        scores = np.concatenate([row_scores(self._record, scores) for _, scores in parts])
        many = self._record.task == "multiclass"
        vectors = np.concatenate([found for _, found in parts]) if many else None
        return [arrays for arrays, _ in parts], scores, vectors

    def _chunk(self, batch: pa.RecordBatch) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the columns that are made of some rows, and the scores as the scorer gives them.

        The probabilities are those of `penstock.serving.prediction.prediction_of`.
        """
        record = self._record
        arrays = scorer_arrays(batch, record.columns)
        scores = self._scorer.scores_of(arrays)
        if without_score(scores) is not None:
            raise InputError(
                "the model's score of a row is not finite, so that its label would be made up",
                where=f"{record.name} model of {record.target!r}",
                remedy="See what the model answers to values beyond all that it has learned from; "
                "leave such rows out, or train it again.",
            )
        labels = self._scorer.labels_of(scores)
        made: list[np.ndarray] = [labels]
        if record.task == "multiclass":
            made += [scores[:, index] for index in range(len(record.classes))]
        elif record.task == "binary":
            pair = [1 - scores, scores]
            made += pair if record.classes[1] == record.positive else pair[::-1]
        if self._explainer is not None:
            made += self._explained(self._explainer, arrays, labels.tolist())
        return made, scores

    def _explained(
        self, explainer: Explainer, arrays: Mapping[str, Any], labels: list[Any]
    ) -> list[np.ndarray]:
        names = [column.name for column in self._record.columns]
        found = np.empty((len(labels), 1 + len(names)))
        for row, label in enumerate(labels):
            one = explainer.explain({n: arrays[n][row : row + 1] for n in names}, label)
            found[row, 0] = one.base
            found[row, 1:] = [one.contributions[name] for name in names]
        return list(found.T)

    def _table(self, kept: pa.RecordBatch, made: list[list[np.ndarray]]) -> pa.RecordBatch:
        import pyarrow as pa

        columns = [kept.column(name) for name in self._keep]
        for at, column in enumerate(self.made):
            kind = arrow_type(column.type)
            parts = [arrays[at] for arrays in made]
            columns.append(pa.array(np.concatenate(parts), kind) if parts else pa.array([], kind))
        names = [*self._keep, *(column.name for column in self.made)]
        return pa.RecordBatch.from_arrays(columns, names)

    def _unseen(self, rows: Rows, refused: Mapping[int, RefusedRow]) -> Iterator[RefusedRow]:
        for name, known in self._levels.items():
            values = rows.typed.column(name).to_pylist()
            foreign = set(values) - known - {None}
            if not foreign:
                continue
            for row, value in enumerate(values):
                if value in foreign and row not in refused:
                    reason = f"{show(value)} is not a value that the model was trained with"
                    yield rows.refusal(row, column=name, reason=reason)


def _label_type(classes: Sequence[Any], task: str) -> ColumnType:
    if task == "regression":
        return "number"
    if isinstance(classes[0], bool):
        return "boolean"
    return "integer" if isinstance(classes[0], int) else "string"


def _spelled(label: Any) -> str:
    """Return a class in the name of a column, as JSON has it."""
    return str(label).lower() if isinstance(label, bool) else str(label)
