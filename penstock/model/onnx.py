"""A registered model's ONNX form: checked, then run by ONNX Runtime without scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from penstock import model
from penstock.common import files
from penstock.common.times import times_of
from penstock.data.table.frames import check_rows
from penstock.errors import InputError, IntegrityError
from penstock.records import export
from penstock.records.export import MISSING_TEXT, MODEL_NAME, Export, Input
from penstock.records.model import FILE_NAME, Model

if TYPE_CHECKING:
    import numpy as np

OUTPUT = "scores"

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class OnnxModel:
    """The ONNX form of a model, with the face of `penstock.model.LoadedModel` that scores.

    Args:
        record: What is known of the model, from `penstock.json`.
        digest: Digest of the model.
        export: What is known of the form: how far it is from the model itself.
    """

    runtime: ClassVar[str] = "onnx"

    record: Model
    digest: str
    export: Export
    _run: Callable[[Columns], np.ndarray]

    def scores_of(self, columns: Columns) -> np.ndarray:
        """Return what the model says of every row.

        Binary: the probability of the positive class, shape (n,). Multiclass: probabilities in
        the order of `record.classes`, shape (n, k). Regression: the value, shape (n,).

        Args:
            columns: By the record's names, all n > 0 long. integer, number, boolean: a float64
                array, NaN for missing; string: a list of text or None; datetime: a list of aware
                datetimes or None, or a datetime64[us] array in UTC, NaT for missing.

        Raises:
            InputError: If a column is absent, or the columns have different lengths.
        """
        check_rows(columns, self.record.columns)
        return self._run(columns)

    def labels_of(self, scores: np.ndarray) -> np.ndarray:
        """Return the labels that `scores`, as `scores_of()` returned them, amount to."""
        return model.labels_of(self.record, scores)


def load(folder: Path, *, expected_digest: str, export_digest: str) -> OnnxModel:
    """Load the ONNX form in a registered model's folder after checking that it may be trusted.

    Args:
        folder: The model's folder, with `serving/` in it.
        expected_digest: Digest that the model must have, as the registry names it.
        export_digest: Digest that the folder `serving/` must have, as the registry names it.

    Raises:
        InputError: If a file is absent or unreadable.
        IntegrityError: If a digest differs, the form was made from another model, does not fit its
            record, or holds what no form of ours holds: see `penstock.model.onnx_file.check`.
    """
    from penstock.model.onnx_file import check

    place = folder / export.FOLDER
    _require(files.digest_of_folder(place), export_digest, what="the ONNX form", where=place)
    digest = model.digest_of(folder)
    _require(digest, expected_digest, what="the model", where=folder)
    record = Model.read(folder / FILE_NAME)
    described = Export.read(place / export.FILE_NAME)
    _require(described.model, digest, what="the model it was made from", where=place)
    path = place / MODEL_NAME
    if not described.file or not path.is_file():
        raise InputError(
            f"the model has no ONNX form: {described.reason or f'no {MODEL_NAME}'}",
            where=str(place),
            remedy="Serve it without --export: scikit-learn answers then.",
        )
    _require(files.digest_of_file(path), described.file, what=MODEL_NAME, where=path)
    if [i.column for i in described.inputs] != [c.name for c in record.columns]:
        raise IntegrityError("its inputs are not the model's columns", where=str(place))
    content = path.read_bytes()
    check(content, where=str(path))
    run = runner(content, described.inputs, where=str(path))
    return OnnxModel(record=record, digest=digest, export=described, _run=run)


def runner(
    content: bytes, inputs: Sequence[Input], *, where: str
) -> Callable[[Columns], np.ndarray]:
    """Return a function from columns, as `OnnxModel.scores_of` takes them, to scores.

    Args:
        content: The ONNX model.
        inputs: Where it takes each column from.
        where: Its file, for errors.

    Raises:
        IntegrityError: If ONNX Runtime refuses the model, or has other inputs.
    """
    session = _session(content, where=where)
    feeds = _feeds(inputs)
    if {i.name for i in session.get_inputs()} != {name for name, _ in feeds}:
        raise IntegrityError("the graph's inputs are not the record's", where=where)
    outputs = [OUTPUT]

    def run(columns: Columns) -> np.ndarray:
        given = {name: feed(columns) for name, feed in feeds}
        try:
            found: np.ndarray = session.run(outputs, given)[0]
        except UnicodeEncodeError:
            found = session.run(outputs, {name: _encodable(v) for name, v in given.items()})[0]
        return found

    return run


def _encodable(values: np.ndarray) -> np.ndarray:
    """Return texts with half characters (lone surrogates) written out: UTF-8 has none.

    No level of a model holds one, so that the text stays one that was never seen.
    """
    import numpy as np

    if values.dtype != object:
        return values
    texts = [text.encode("utf-8", "backslashreplace").decode() for text in values.ravel()]
    return np.array(texts, dtype=object).reshape(values.shape)


def _session(content: bytes, *, where: str) -> Any:
    import onnxruntime  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    # A request is small: threads would only wait for one another, and starve other requests.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Warnings of the runtime are about its own work; errors are raised.
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no public base.
        raise IntegrityError(
            f"ONNX Runtime refuses the model: {str(error)[:200]}", where=where
        ) from error


def _feeds(inputs: Sequence[Input]) -> list[tuple[str, Callable[[Columns], np.ndarray]]]:
    makers = {"number": _numbers, "text": _texts, "time": _times}
    grouped: dict[tuple[str, str], dict[int, str]] = {}
    for item in inputs:
        grouped.setdefault((item.kind, item.name), {})[item.index] = item.column
    return [
        (name, makers[kind](tuple(names[index] for index in sorted(names))))
        for (kind, name), names in grouped.items()
    ]


def _numbers(names: tuple[str, ...]) -> Callable[[Columns], np.ndarray]:
    import numpy as np

    def feed(columns: Columns) -> np.ndarray:
        rows = len(columns[names[0]])
        flat = np.concatenate([columns[name] for name in names], dtype=np.float64)
        return flat.reshape(len(names), rows).T

    return feed


def _texts(names: tuple[str, ...]) -> Callable[[Columns], np.ndarray]:
    import numpy as np

    def feed(columns: Columns) -> np.ndarray:
        flat = [MISSING_TEXT if text is None else text for name in names for text in columns[name]]
        return np.array(flat, dtype=object).reshape(len(names), len(columns[names[0]])).T

    return feed


def _times(names: tuple[str, ...]) -> Callable[[Columns], np.ndarray]:
    import numpy as np

    def feed(columns: Columns) -> np.ndarray:
        rows = len(columns[names[0]])
        flat = np.concatenate([times_of(columns[name]) for name in names])
        return flat.view(np.int64).reshape(len(names), rows).T

    return feed


def _require(found: str, expected: str, *, what: str, where: Path) -> None:
    if found != expected:
        raise IntegrityError(
            f"the digest of {what} is {found}, expected {expected}",
            where=str(where),
            remedy="The files were altered or replaced: fetch the version again.",
        )
