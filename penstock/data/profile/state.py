"""The state of a profile in a file, so that a later process goes on with more rows.

Numbers and names are JSON, arrays are NumPy's own format or Arrow's: nothing in it is executed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penstock.data.profile.profiler import TableProfiler
from penstock.errors import IntegrityError
from penstock.records.dataset import Column

_NUMBERS, _VALUES, _REST = "array:", "arrow:", "json"


def write_state(profiler: TableProfiler, path: Path) -> None:
    """Write the state of a profile into a file, some megabytes for columns of many values."""
    arrays: dict[str, Any] = {}
    rest = _without_arrays(profiler.state(), arrays)
    arrays[_REST] = np.frombuffer(json.dumps(rest).encode(), np.uint8)
    np.savez(path, **arrays)


def read_state(path: Path, columns: Sequence[Column]) -> TableProfiler:
    """Return the profile whose state a file holds.

    Args:
        path: What `write_state` wrote.
        columns: The columns that it is of.

    Raises:
        IntegrityError: If the file is absent or damaged, or of other columns.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        rest = json.loads(arrays[_REST].tobytes())
        return TableProfiler.restored(columns, _with_arrays(rest, arrays))
    except Exception as error:  # Whatever is wrong with it, it is of no use.
        raise IntegrityError(
            f"the state of the profile cannot be read: {type(error).__name__}",
            where=str(path),
            remedy="It was changed after it was written: read the whole source again.",
        ) from error


def _without_arrays(value: Any, arrays: dict[str, Any]) -> Any:
    """Return a value in which names stand for its arrays, which are put beside it."""
    if isinstance(value, Mapping):
        return {name: _without_arrays(one, arrays) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(one, arrays) for one in value]
    if isinstance(value, np.ndarray):
        name = f"{_NUMBERS}{len(arrays)}"
        arrays[name] = value
        return name
    if value is None or isinstance(value, int | float | str):
        return value
    name = f"{_VALUES}{len(arrays)}"
    arrays[name] = np.frombuffer(_packed(value), np.uint8)
    return name


def _with_arrays(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _with_arrays(one, arrays) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_arrays(one, arrays) for one in value]
    if isinstance(value, str) and value.startswith(_NUMBERS):
        return arrays[value]
    if isinstance(value, str) and value.startswith(_VALUES):
        return _unpacked(arrays[value].tobytes())
    return value


def _packed(values: Any) -> bytes:
    import pyarrow as pa

    batch = pa.record_batch([values], ["values"])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue()


def _unpacked(raw: bytes) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(raw) as stream:
        return stream.read_next_batch().column(0)
