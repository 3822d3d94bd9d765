"""What training starts from: rows, target and the fitted features, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.data.profile.counting import MAX_LEVEL
from penstock.data.table import read_dataset, read_table
from penstock.data.table.frames import read_rows
from penstock.data.task import complete_target, resolve_positive, resolve_task
from penstock.errors import InputError, IntegrityError
from penstock.metrics import codes, refuse_huge
from penstock.model import load_trusted
from penstock.model.folder import take_code
from penstock.records.dataset import Column, Dataset, Reading, Split
from penstock.records.features import FILE_NAME, TRANSFORMER_NAME, Features
from penstock.records.model import Label, Task, TrainingSample
from penstock.training import estimators
from penstock.training.feature_columns import FeatureColumns, read_columns
from penstock.training.fold_rule import FoldRule, column_of, fold_rule
from penstock.training.monotonic import directions
from penstock.training.own_features import read_own
from penstock.training.spec import Direction, FoldsSpec
from penstock.training.weights import read_weights

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from penstock.data.split.known_rows import KnownRows
    from penstock.data.split.repeats import Copies


@dataclass(frozen=True)
class Problem:
    """A training part, ready to learn from.

    Args:
        task: What is predicted.
        target: The target's name.
        dataset: The training part's record.
        features: The record of the fitted features.
        transformer: The fitted transformer itself.
        folder: The training part.
        columns: Its features.
        y: The target as estimators take it, shape (n,): labels, or float64 for a regression.
        truth: The target as metrics take it: `penstock.metrics.codes`, or float64.
        classes: Every class, sorted, as `predict_proba` orders them; empty for a regression.
        positive: Binary task: the class that is scored.
        split: How the holdout was cut off, if known.
        fold_rule: How folds are cut.
        rows: What is known of the rows.
        weights: How much each counts while models are fitted, mean 1, shape (n,); None: all alike.
        monotonic: 1 or -1 by feature that a prediction may only rise or fall with.
        chosen: Places of the rows in the part, ascending, where they are a sample; None: all.
        judged_rows: Rows of each class in the whole part, of a sample too, copies counted once;
            empty for a regression.
        more_often: Classes that are more frequent in the sample; see `TrainingSample`.
    """

    task: Task
    target: str
    dataset: Dataset
    features: Features
    transformer: Any
    folder: Path
    columns: FeatureColumns
    y: np.ndarray
    truth: np.ndarray
    classes: tuple[Label, ...]
    positive: Label | None
    split: Split | None
    fold_rule: FoldRule
    rows: KnownRows
    weights: np.ndarray | None = None
    monotonic: Mapping[int, int] = field(default_factory=dict)
    chosen: np.ndarray | None = None
    judged_rows: tuple[int, ...] = ()
    more_often: Mapping[str, float] = field(default_factory=dict)

    @property
    def sample(self) -> TrainingSample | None:
        """What is to be said of the rows, where they are a sample."""
        if self.chosen is None:
            return None
        return TrainingSample(
            rows=len(self.chosen),
            of=self.dataset.rows,
            by_class=self.task != "regression",
            more_often=dict(self.more_often),
        )

    @property
    def frame(self) -> pd.DataFrame:
        """Raw rows as the transformer takes them; read anew, for nothing holds them."""
        import numpy as np

        return self.read(np.arange(len(self.y)), [column.name for column in self.inputs])

    def read(self, places: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
        """Return columns of some of the rows as `penstock.data.table.frames` has them."""
        return read_rows(self.folder, names, places if self.chosen is None else self.chosen[places])

    @property
    def repeats(self) -> Copies | None:
        """Which rows are copies of others; None where no row repeats."""
        return self.rows.copies

    @property
    def repeats_text(self) -> str:
        """How many rows of the table repeat, and what was made of them."""
        if self.split is not None:
            return self.split.repeats_text
        copies = 0 if self.repeats is None else self.repeats.copies
        return (
            f"{copies:,} rows are copies of others." if copies else "No row is a copy of another."
        )

    @property
    def judged(self) -> np.ndarray:
        """Whether each row counts where rows are judged: of copies one does; shape (n,)."""
        import numpy as np

        if self.repeats is None:
            return np.ones(len(self.y), dtype=bool)
        return ~self.repeats.further

    @property
    def class_rows(self) -> tuple[int, ...]:
        """Rows of each class; empty for a regression."""
        import numpy as np

        if self.task == "regression":
            return ()
        return tuple(int(rows) for rows in np.unique(self.y, return_counts=True)[1])

    @property
    def most_leaves(self) -> int | None:
        """Leaves that a tree of a forest may have; see `penstock.training.estimators`."""
        return estimators.most_leaves(rows=len(self.y), classes=len(self.classes))

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The raw columns that the model takes, in order."""
        return self.features.inputs()

    def reading(self) -> Reading | None:
        """Return how texts become values of the raw columns."""
        known = self.dataset.reading
        return None if known is None else known.of({column.name for column in self.inputs})


def read_problem(
    train: Path,
    *,
    features: Path,
    target: str,
    task: str,
    positive: str,
    split: Split | None,
    weights: str = "",
    monotonic: Mapping[str, Direction] | None = None,
    folds: FoldsSpec | None = None,
    max_rows: int | None = None,
    seed: int = 0,
) -> Problem:
    """Read and check everything that training needs.

    Args:
        train: The training part.
        features: The features fitted on it.
        target: The column to predict.
        task: What is predicted, or `auto`.
        positive: Two classes: the one that is scored; empty: see `resolve_positive`.
        split: How the holdout was cut off, if known.
        weights: The column that says how much each row counts; empty: all alike.
        monotonic: By column, how a prediction may move with it.
        folds: What the project says of the folds; None: they follow the split.
        max_rows: Rows that are learned from at most, see `penstock.training.sampling`; None: all.
        seed: Seed of that sample.

    Raises:
        InputError: If the target is absent, constant, null in some row, infinite or does not fit
            the task, the task is not the split's, the positive class is not one of its values, or
            weights, monotonic constraints or folds do not fit the table.
        IntegrityError: If the features were fitted on other data or for another target, or were
            altered since; if the split is of another dataset or for another target; or if the rows
            are not the ones that the part's record names.
    """
    import numpy as np

    from penstock.data.split.known_rows import read_known_rows
    from penstock.training.sampling import more_often, sampled

    dataset = read_dataset(train)
    resolved = _task(dataset, target=target, task=task, split=split)
    regression = resolved == "regression"
    record, transformer = _read_features(features, dataset=dataset, target=target)
    _check_split(split, dataset=dataset, features=record)
    column = read_table(train, [target]).column(target)
    y = _target(column, dataset, target=target, task=resolved)
    followed = column_of(folds or FoldsSpec(), split)
    rule = fold_rule(
        folds or FoldsSpec(),
        table=read_table(train, [followed if dataset.column(followed) else target]),
        dataset=dataset,
        task=resolved,
        target=target,
        inputs=[column.name for column in record.inputs()],
        split=split,
    )
    rows = read_known_rows(train, dataset, target=target, regression=regression, split=split)
    judged_rows = () if regression else _judged_rows(y, rows.copies)
    chosen, oftener = None, dict[str, float]()
    if max_rows is not None and len(y) > max_rows:
        chosen = sampled(y, rows=max_rows, by_class=not regression, seed=seed)
        oftener = {} if regression else more_often(y, chosen)
        y = y[chosen]
        rows = rows.of(chosen)
    classes: tuple[Label, ...] = ()
    scored: Label | None = None
    truth = y
    if not regression:
        classes = tuple(label.item() for label in np.unique(y))
        if resolved == "binary":
            scored = resolve_positive(dataset, target=target, positive=positive)
        truth = codes(y, classes=classes, positive=scored)
    return Problem(
        task=resolved,
        target=target,
        dataset=dataset,
        features=record,
        transformer=transformer,
        folder=train,
        columns=_columns(train, transformer, record, rows=dataset.rows, chosen=chosen),
        y=y,
        truth=truth,
        classes=classes,
        positive=scored,
        split=split,
        fold_rule=rule.of(chosen),
        rows=rows,
        chosen=chosen,
        judged_rows=judged_rows,
        more_often=oftener,
        weights=read_weights(
            read_table(train, [weights if dataset.column(weights) else target]),
            weights,
            target=target,
            inputs=[column.name for column in record.inputs()],
            classes=None if regression else y,
            chosen=chosen,
        ),
        monotonic=directions(
            monotonic or {}, features=record, task=resolved, classes=classes, positive=scored
        ),
    )


def _judged_rows(y: np.ndarray, copies: Copies | None) -> tuple[int, ...]:
    import numpy as np

    classes, code = np.unique(y, return_inverse=True)
    counted = code if copies is None else code[~copies.further]
    return tuple(np.bincount(counted, minlength=len(classes)).tolist())


def _columns(
    train: Path, transformer: Any, record: Features, *, rows: int, chosen: np.ndarray | None
) -> FeatureColumns:
    if record.code is not None:
        return read_own(train, transformer, record.inputs(), rows=rows, chosen=chosen)
    return read_columns(train, transformer, record.inputs(), chosen)


def _task(dataset: Dataset, *, target: str, task: str, split: Split | None) -> Task:
    """Return the task of the whole table, which its training part alone might not show."""
    if split is None or split.task is None:
        return resolve_task(dataset, target=target, task=task)
    if split.target != target:
        raise IntegrityError(
            f"the split was made for the target {split.target!r}, not {target!r}",
            where="split record",
            remedy="Split the data again for this target.",
        )
    if task not in ("auto", split.task):
        raise InputError(
            f"the split was made for a {split.task} task, not {task!r}",
            where="task",
            remedy="Leave it at auto, or split the data again for this task.",
        )
    return resolve_task(dataset, target=target, task=split.task)


def _read_features(folder: Path, *, dataset: Dataset, target: str) -> tuple[Features, Any]:
    record = Features.read(folder / FILE_NAME)
    if record.dataset != dataset.content:
        raise IntegrityError(
            f"the features were fitted on dataset {record.dataset}, this one is {dataset.content}",
            where=str(folder),
            remedy="Fit the features on this training part: run engineer_features on it.",
        )
    if record.target != target:
        raise IntegrityError(
            f"the features were fitted for the target {record.target!r}, not {target!r}",
            where=str(folder),
            remedy="Fit the features again for this target.",
        )
    path = folder / TRANSFORMER_NAME
    if not path.is_file():
        raise InputError(f"no {TRANSFORMER_NAME} beside {FILE_NAME}", where=str(folder))
    found = files.digest_of_file(path)
    if found != record.transformer:
        raise IntegrityError(
            f"the transformer's digest is {found}, its record says {record.transformer}",
            where=str(path),
            remedy="It was altered after it was fitted: fit the features again.",
        )
    if record.code is not None:
        # Made by a step of this run.
        take_code(folder, record.code, allowed=True)
    transformer = load_trusted(path, code="" if record.code is None else record.code.digest)
    fitted = [str(name) for name in transformer.feature_names_in_]
    if fitted != [column.name for column in record.inputs()]:
        raise IntegrityError(
            f"the transformer takes the columns {fitted}, its record names others",
            where=str(folder),
            remedy="Fit the features again.",
        )
    return record, transformer


def _check_split(split: Split | None, *, dataset: Dataset, features: Features) -> None:
    if split is None:
        return
    if split.train != dataset.content:
        raise IntegrityError(
            f"the split record is of training part {split.train}, this one is {dataset.content}",
            where="split record",
            remedy="Give the record that was written with this training part.",
        )
    if split.method == "group" and split.column in {c.name for c in features.inputs()}:
        raise InputError(
            f"the rows were split by {split.column!r}, and it is also a feature",
            where="features",
            remedy="Give engineer_features the split record, or declare "
            f"features.columns: {{{split.column}: drop}}; its values in the holdout are all new.",
        )


def _target(column: pa.ChunkedArray, dataset: Dataset, *, target: str, task: Task) -> np.ndarray:
    import numpy as np

    described = complete_target(dataset, target)
    if task == "regression":
        numbers: np.ndarray = column.to_numpy().astype(np.float64)
        if not np.isfinite(numbers).all():
            raise InputError(
                f"the target is infinite in {int((~np.isfinite(numbers)).sum()):,} rows",
                where=f"target {target!r}",
                remedy="Remove these rows or correct their values.",
            )
        refuse_huge(numbers, where=f"target {target!r}")
        return numbers
    if described.type == "string":
        if (described.profile.longest or 0) > MAX_LEVEL:
            # NumPy's own text gives every row the room of the longest.
            raise InputError(
                f"a class label has {described.profile.longest:,} characters, more than "
                f"{MAX_LEVEL}",
                where=f"target {target!r}",
                remedy="Name another target, or shorten its labels.",
            )
        # One text of Python's for each label, not for each row.
        encoded = column.dictionary_encode().combine_chunks()
        labels = np.array(encoded.dictionary.to_pylist(), dtype=np.str_)
        return np.asarray(labels[encoded.indices.to_numpy()])
    values: np.ndarray = column.to_numpy()
    return _whole(values, target) if described.type == "number" else values


def _whole(values: np.ndarray, target: str) -> np.ndarray:
    import numpy as np

    if not (values == np.floor(values)).all():
        raise InputError(
            "a class label is a fraction",
            where=f"target {target!r}",
            remedy="Use task: regression, or store the labels as text by source.types.",
        )
    return values.astype(np.int64)
