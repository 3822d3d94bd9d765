"""The holdout as the models see it: checked, read once in batches, scored by each."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from penstock import model as models
from penstock.data.table import iter_batches, read_dataset
from penstock.data.task import complete_target
from penstock.errors import InputError, IntegrityError
from penstock.gate.compared import NUMBERS, Champion, ChampionStatus, absent, check_comparable
from penstock.metrics import refuse_huge
from penstock.model import LoadedModel
from penstock.records.dataset import Dataset
from penstock.records.estimate import Estimate
from penstock.records.evaluation import CANDIDATE as CANDIDATE
from penstock.records.evaluation import CHAMPION as CHAMPION
from penstock.records.evaluation import Comparison
from penstock.records.model import FILE_NAME, Model

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from penstock.data.split.hashed_table import HashedTable
    from penstock.metrics.predictions import Predictions

FEW_ROWS = 30


@dataclass(frozen=True)
class Holdout:
    """What is true of the held-out rows, and what each model says of them.

    Args:
        folder: Where the rows are.
        dataset: The holdout's record.
        record: The candidate's record; every other model has its task, target and classes.
        truth: Shape (n,). Regression: the target. Binary: 1 for the positive class, 0 for the
            other. Multiclass: the position in `record.classes`. A class that the models do not
            know is `len(record.classes)`.
        scores: By model, as `LoadedModel.scores` returns them, finite.
        models: The models, the candidate first.
        notes: What a reader of the figures must know.
        champion: Whether the champion is among the models, and why not.
    """

    folder: Path
    dataset: Dataset
    record: Model
    truth: np.ndarray
    scores: dict[str, np.ndarray]
    models: dict[str, LoadedModel]
    notes: tuple[str, ...]
    champion: ChampionStatus = field(default_factory=ChampionStatus)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.truth)

    @cached_property
    def hashed(self) -> HashedTable:
        """The rows hashed once, which proves that they are those of the record, and their copies.

        The hashes lie in a folder of the system's for temporary files, some 130 bytes a row, as
        long as the holdout is held.

        Raises:
            IntegrityError: If the rows are not the ones of the record.
            InputError: If the disk is full.
        """
        from penstock.data.split.hashed_table import hash_into
        from penstock.data.table.disk import disk_errors

        work = TemporaryDirectory(prefix="penstock-holdout-")
        weakref.finalize(self, work.cleanup)
        with disk_errors(Path(work.name)):
            return hash_into(
                Path(work.name),
                self.folder,
                self.dataset,
                target=self.record.target,
                column="",
                regression=self.record.task == "regression",
                setting="auto",
            )

    def labels(self) -> tuple[str, ...]:
        """Return the names of the classes in the order of the codes in `truth`."""
        classes = self.record.classes
        if self.record.task == "binary":
            ordered = sorted(classes, key=lambda label: label == self.record.positive)
            return tuple(map(str, ordered))
        return tuple(map(str, classes))

    def predictions(self, name: str) -> Predictions:
        """Return what a model predicts for the rows, as the metrics take it."""
        from penstock.metrics.predictions import Predictions

        return Predictions(
            task=self.record.task,
            truth=self.truth,
            scores=self.scores[name],
            predicted=self.predicted(name),
            classes=len(self.record.classes),
        )

    def predicted(self, name: str) -> np.ndarray:
        """Return the codes that a model predicts, or for a regression the values; shape (n,)."""
        import numpy as np

        scores = self.scores[name]
        if self.record.task == "regression":
            return scores
        if self.record.task == "multiclass":
            return np.asarray(scores.argmax(axis=1), dtype=np.int64)
        return np.asarray(scores >= self.models[name].record.threshold, dtype=np.int64)


@dataclass(frozen=True)
class Context:
    """What a rule measures with.

    Args:
        holdout: The rows and what the models say of them.
        model: The candidate's folder.
        champion: The champion's; None where there is none.
        metrics: The candidate's metrics on the whole holdout.
        comparisons: Its advantages over the other models.
        confidence: Of every interval.
        resamples: How many, where an interval needs them.
        seed: Of every draw.
    """

    holdout: Holdout
    model: Path
    champion: Path | None
    metrics: Mapping[str, Estimate]
    comparisons: Sequence[Comparison]
    confidence: float
    resamples: int
    seed: int


def read_holdout(
    folder: Path, *, model: Path, baselines: Path | None, champion: Champion | None
) -> Holdout:
    """Load the models, check that they can be compared on the holdout, and let them score it.

    Args:
        folder: The holdout.
        model: The candidate's folder.
        baselines: A folder of model folders, named as the comparison names them; None for none.
        champion: The champion; None for none. One that cannot be loaded or compared is no error:
            the result says so.

    Raises:
        InputError: If the dataset is not a holdout of the candidate; if the target is absent, null
            in some row or constant; if the candidate or a baseline takes a column that the holdout
            does not have or has in another type, or answers another question, or gives a
            prediction that is not finite.
        IntegrityError: If the candidate or a baseline is not whole or not trusted.
    """
    dataset = read_dataset(folder)
    loaded = _load(model, baselines=baselines)
    record = loaded[CANDIDATE].record
    _check_part(dataset, record, where=str(folder))
    _check_target(dataset, record, where=str(folder))
    for name, other in loaded.items():
        check_comparable(name, other.record, record, dataset)
    status = _join(loaded, champion, dataset)
    target, scores = _score(folder, loaded, target=record.target, rows=dataset.rows)
    truth = _truth(target, record, where=str(folder))
    for name in tuple(loaded):
        try:
            _check_finite(name, scores[name])
        except InputError as error:
            if name != CHAMPION:
                raise
            status = ChampionStatus("unloadable", status.name, str(error))
            del loaded[CHAMPION], scores[CHAMPION]
    return Holdout(
        folder=folder,
        dataset=dataset,
        record=record,
        truth=truth,
        scores=scores,
        models=loaded,
        notes=(
            *_row_notes(target, truth, record),
            *_champion_notes(loaded, dataset),
            *([f"The champion was not compared. {status.note}"] if status.note else []),
        ),
        champion=status,
    )


def _load(model: Path, *, baselines: Path | None) -> dict[str, LoadedModel]:
    loaded = {CANDIDATE: models.load(model, run_code=True)}
    if baselines is not None:
        folders = sorted(path.parent for path in baselines.glob(f"*/{FILE_NAME}"))
        if not folders:
            raise InputError(
                "the folder of baselines holds no model",
                where=str(baselines),
                remedy="Give the baselines that the train step wrote.",
            )
        loaded |= {folder.name: models.load(folder, run_code=True) for folder in folders}
    return loaded


def _join(
    loaded: dict[str, LoadedModel], champion: Champion | None, dataset: Dataset
) -> ChampionStatus:
    """Put the champion after the candidate, if it can be loaded and compared."""
    if champion is None or champion.folder is None:
        return absent(champion)
    try:
        found = models.load(champion.folder, run_code=True)
    except (InputError, IntegrityError) as error:
        return ChampionStatus("unloadable", champion.uri, str(error))
    # A nameless one still counts, or the gate would not see it.
    name = champion.uri or found.digest
    try:
        check_comparable(CHAMPION, found.record, loaded[CANDIDATE].record, dataset)
    except InputError as error:
        return ChampionStatus("different", name, str(error))
    others = {other: loaded.pop(other) for other in tuple(loaded) if other != CANDIDATE}
    loaded |= {CHAMPION: found} | others
    return ChampionStatus("compared", name)


def _check_part(dataset: Dataset, record: Model, *, where: str) -> None:
    if dataset.part not in (None, "holdout"):
        raise InputError(
            f"the dataset says that it is the {dataset.part} part, not the holdout",
            where=where,
            remedy="Evaluate on the holdout that the split step wrote.",
        )
    if dataset.content == record.dataset:
        raise InputError(
            f"the dataset is the one that the model was trained on ({dataset.content})",
            where=where,
            remedy="Evaluate on rows that training did not see.",
        )


def _check_target(dataset: Dataset, record: Model, *, where: str) -> None:
    column = complete_target(dataset, record.target, where=where)
    if record.task == "regression" and column.type not in NUMBERS:
        raise InputError(
            f"the model predicts numbers, but the target is a {column.type} column",
            where=f"{where}, target {record.target!r}",
        )


def _score(
    folder: Path, loaded: Mapping[str, LoadedModel], *, target: str, rows: int
) -> tuple[pa.ChunkedArray, dict[str, np.ndarray]]:
    import numpy as np
    import pyarrow as pa

    names = {column.name: None for m in loaded.values() for column in m.record.columns}
    truth: list[pa.Array] = []
    scores: dict[str, np.ndarray] = {}
    start = 0
    for batch in iter_batches(folder, list(names | {target: None})):
        truth.append(batch.column(target))
        for name, one in loaded.items():
            found = one.scores(one.frame(batch))
            # Filled as they come: parts that are joined at the end are held twice.
            held = scores.setdefault(name, np.empty((rows, *found.shape[1:]), dtype=found.dtype))
            held[start : start + len(found)] = found
        start += batch.num_rows
    return pa.chunked_array(truth), scores


def _truth(target: pa.ChunkedArray, record: Model, *, where: str) -> np.ndarray:
    import numpy as np

    if record.task == "regression":
        numbers = np.asarray(target.to_numpy(), dtype=np.float64)
        refuse_huge(numbers, where=f"{where}, column {record.target!r}")
        return numbers
    unknown = len(record.classes)
    codes: dict[object, int] = {label: code for code, label in enumerate(record.classes)}
    if record.task == "binary":
        codes = {label: int(label == record.positive) for label in record.classes}
    encoded = target.combine_chunks().dictionary_encode()
    of_level = np.array([codes.get(v, unknown) for v in encoded.dictionary.to_pylist()])
    truth = np.asarray(of_level[encoded.indices.to_numpy()], dtype=np.int64)
    known = np.unique(truth[truth < unknown])
    if len(known) == 0 or (record.task == "binary" and len(known) == 1):
        raise InputError(
            f"the holdout has rows of {len(known)} of the model's {unknown} classes: "
            f"{', '.join(map(repr, encoded.dictionary.to_pylist()[:5]))}",
            where=f"{where}, column {record.target!r}",
            remedy=f"The model knows {', '.join(map(repr, record.classes[:10]))}: hold out rows "
            "of each.",
        )
    return truth


def _check_finite(name: str, values: np.ndarray) -> None:
    import numpy as np

    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise InputError(
            f"it gives no finite prediction in {int((~finite).sum()):,} rows, the first of "
            f"them row {int((~finite).argmax()) + 1:,}",
            where=f"the {name}",
            remedy="Look at that row: a feature there is far outside what it was trained on.",
        )


def _row_notes(target: pa.ChunkedArray, truth: np.ndarray, record: Model) -> list[str]:
    notes = []
    if len(truth) < FEW_ROWS:
        notes.append(
            f"The holdout has only {len(truth)} rows: with so few, intervals hold "
            "the true figure less often than they say."
        )
    if record.task != "regression" and (unseen := int((truth == len(record.classes)).sum())):
        levels = target.filter(truth == len(record.classes)).unique().to_pylist()
        shown = ", ".join(map(repr, levels[:5])) + (", …" if len(levels) > 5 else "")
        notes.append(
            f"{unseen:,} rows hold a class that the models have never seen ({shown}). They count "
            "as wrong, whatever is predicted, and as rows of none of the known classes."
        )
        if record.task == "binary":
            notes.append(
                "In roc_auc and average_precision rows of an unseen class stand among those that "
                "are not positive."
            )
    return notes


def _champion_notes(loaded: Mapping[str, LoadedModel], dataset: Dataset) -> list[str]:
    champion = loaded.get(CHAMPION)
    if champion is None:
        return []
    if champion.digest == loaded[CANDIDATE].digest:
        return ["The champion is this very model."]
    if champion.record.dataset == dataset.content:
        return ["The champion was trained on this holdout: its figures are too good."]
    if champion.record.dataset != loaded[CANDIDATE].record.dataset:
        return [
            "The champion was trained on another dataset, which may hold rows of this holdout. "
            "That can only improve the champion's figures."
        ]
    return []
