"""Make a model's ONNX form, and prove it against scikit-learn before anything is written."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock import model
from penstock.common import files
from penstock.data.table import iter_batches, read_dataset
from penstock.data.table.frames import to_frame
from penstock.errors import IntegrityError
from penstock.export.convert import convert
from penstock.export.errors import NotConvertibleError
from penstock.model.onnx import runner
from penstock.model.onnx_file import check
from penstock.records.dataset import Dataset
from penstock.records.export import FILE_NAME, MODEL_NAME, Export

if TYPE_CHECKING:
    from penstock.export._compare import Comparison, Run
    from penstock.model import LoadedModel

TOLERANCE = 1e-9
"""What a probability may differ by; a regression's value relatively. The same sums in another
order differ by about 1e-15; one value on the other side of a threshold by far more than this."""

_ROWS = 4096
_LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn")


def export(folder: Path, *, holdout: Path, output: Path) -> Export:
    """Convert a model to ONNX, compare the two, and write the ONNX form if they agree.

    They are compared on every row of the holdout and on probes: rows of it with one column
    missing, at a level that was never seen, or far out of its range. The labels must be equal, and
    the probabilities (a regression's values: relatively) within `TOLERANCE`.

    Args:
        folder: The model's folder.
        holdout: Dataset folder that holds the model's columns.
        output: Folder to make: `model.onnx` and `export.json`. It is not made where the model has
            no ONNX form that holds.

    Returns:
        The record. Where there is no file, `reason` says what does not convert, or which row
        differs and how.

    Raises:
        InputError: If the model or the holdout cannot be read, the holdout lacks a column, or
            `output` holds something already.
        IntegrityError: If the model is not to be trusted, or the holdout's files are not the ones
            that its record lists.
    """
    loaded = model.load(folder, run_code=True)
    dataset = read_dataset(holdout)
    try:
        content, inputs = convert(loaded.pipeline, loaded.record)
        # As the server does before it runs one: what it would refuse must not be registered.
        check(content, where="its ONNX form")
        run = runner(content, inputs, where="its ONNX form")
    except (NotConvertibleError, IntegrityError) as error:
        return _record(loaded, dataset, reason=str(error))
    rows, probed = _compare(loaded, run, holdout=holdout)
    comparison: dict[str, Any] = {
        "rows": rows.rows,
        "probes": probed.rows,
        "label_differences": rows.label_differences + probed.label_differences,
        "max_difference": min(max(rows.max_difference, probed.max_difference), sys.float_info.max),
    }
    finding = rows.finding or probed.finding
    if finding:
        return _record(loaded, dataset, reason=finding, **comparison)
    with files.whole_folder(output) as beside:
        path = beside / MODEL_NAME
        path.write_bytes(content)
        digest = files.digest_of_file(path)
        record = _record(loaded, dataset, file=digest, inputs=inputs, **comparison)
        record.write(beside / FILE_NAME)
    return record


def _compare(loaded: LoadedModel, run: Run, *, holdout: Path) -> tuple[Comparison, Comparison]:
    """Return what the holdout's rows have shown, and what the probes have."""
    from penstock.export._compare import Comparison, probes

    columns = loaded.record.columns
    rows, probed = (Comparison(loaded, run, tolerance=TOLERANCE) for _ in range(2))
    for batch in iter_batches(holdout, [column.name for column in columns], rows=_ROWS):
        frame = to_frame(batch, columns)
        rows.add(frame)
        if not probed.rows:
            varied, names = probes(frame, columns)
            probed.add(varied, names=names)
    return rows, probed


def _record(loaded: LoadedModel, dataset: Dataset, *, file: str = "", **found: Any) -> Export:
    return Export(
        model=loaded.digest,
        file=file,
        dataset=dataset.content,
        tolerance=TOLERANCE,
        libraries={name: metadata.version(name) for name in _LIBRARIES},
        **found,
    )
