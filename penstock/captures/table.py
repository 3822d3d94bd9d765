"""Captured lines as Arrow tables: each input in the type of its column in the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from penstock.captures.segments import CapturedModel
from penstock.data.types.storage import arrow_type
from penstock.data.types.value import Rules, rules_of, value_of
from penstock.errors import InputError
from penstock.records.dataset import Column, ColumnType

if TYPE_CHECKING:
    import pyarrow as pa

INPUTS = "inputs."
"""What the names of input columns begin with."""

Line = Mapping[str, Any]

_LARGEST = (1 << 63) - 1
"""Of an integer in Arrow."""

_PLAIN: dict[ColumnType, frozenset[type]] = {
    "integer": frozenset([int, type(None)]),
    "number": frozenset([int, float, type(None)]),
    "boolean": frozenset([bool, type(None)]),
    "string": frozenset([str, type(None)]),
}
"""Types of values that Arrow takes for a column as they are."""


def rows_table(lines: Sequence[Line], model: CapturedModel | None) -> tuple[pa.Table, int]:
    """Return the rows of one model as a table, and how many were left out as no such rows.

    Args:
        lines: What was captured.
        model: The model that answered; None: types follow from the values.
    """
    import pyarrow as pa

    model = model or CapturedModel(version="")
    columns = model.columns or _inferred(lines)
    rules = rules_of(columns, model.reading)
    kept = list(lines) if model.columns else [_with_all(line, columns) for line in lines]
    arrays: dict[str, pa.Array] = {}
    for column in columns:
        try:
            arrays[column.name] = _inputs(kept, column, rules[column.name])
        except (ValueError, OverflowError, TypeError, LookupError, AttributeError):
            kept = [line for line in kept if _fits(line, rules)]
            arrays = {c.name: _inputs(kept, c, rules[c.name]) for c in columns}
            break
    fields = {
        "request_id": pa.array([line["request_id"] for line in kept], pa.string()),
        "row": pa.array([line["row"] for line in kept], pa.int64()),
        "time": _times([line["time"] for line in kept]),
        "version": pa.array([line["version"] for line in kept], pa.string()),
        "score": pa.array([line["score"] for line in kept], pa.float64()),
        "scores": pa.array([_scores(line, model) for line in kept], pa.list_(pa.float64())),
        "label": labels_array([line["label"] for line in kept], [model]),
        **{f"{INPUTS}{name}": array for name, array in arrays.items()},
    }
    return pa.table(fields), len(lines) - len(kept)


def line_schema(model: CapturedModel) -> pa.Schema:
    """Return the Arrow schema of a model's lines as JSON has them: a time is text there."""
    import pyarrow as pa

    inputs = [
        (c.name, pa.string() if c.type == "datetime" else arrow_type(c.type)) for c in model.columns
    ]
    label = pa.float64() if model.task == "regression" else arrow_type(_kind_of(model.classes))
    return pa.schema(
        [
            ("request_id", pa.string()),
            ("row", pa.int64()),
            ("time", pa.string()),
            ("version", pa.string()),
            ("mirrored", pa.bool_()),
            ("replayed", pa.bool_()),
            ("inputs", pa.struct(inputs)),
            ("score", pa.float64()),
            ("scores", pa.list_(pa.float64())),
            ("label", label),
        ]
    )


def typed_rows(read: pa.Table, model: CapturedModel) -> pa.Table:
    """Return rows that Arrow read by `line_schema` as `rows_table` returns them.

    Raises:
        ValueError: If a value is none that its column takes.
    """
    import pyarrow as pa

    rules = rules_of(model.columns, model.reading)
    inputs = read["inputs"].combine_chunks()
    fields = {name: read[name] for name in ("request_id", "row", "version", "score", "label")}
    fields["time"] = _times(read["time"].to_pylist())
    fields["scores"] = _vectors(read, model)
    for column in model.columns:
        values = pa.array(inputs.field(column.name)) if len(read) else None
        fields[f"{INPUTS}{column.name}"] = _typed(values, column, rules[column.name])
    order = ("request_id", "row", "time", "version", "score", "scores", "label")
    named = {name: fields[name] for name in (*order, *(f for f in fields if f.startswith(INPUTS)))}
    return pa.table(named)


def _typed(values: pa.Array | None, column: Column, rules: Rules) -> pa.Array:
    import pyarrow as pa

    kind = arrow_type(column.type)
    if values is None:
        return pa.array([], kind)
    cleaned = column.type == "string" and (rules.strip or rules.missing)
    if column.type != "datetime" and not cleaned:
        return values
    return pa.array([value_of(value, rules) for value in values.to_pylist()], kind)


def _vectors(read: pa.Table, model: CapturedModel) -> pa.ChunkedArray | pa.Array:
    """Return one score a class: as they were kept, or of two classes the score and the rest."""
    import numpy as np
    import pyarrow as pa

    if model.task != "binary" or len(model.classes) != 2 or read["scores"].null_count < len(read):
        return read["scores"]
    scores = read["score"].combine_chunks()
    pairs = np.empty((len(read), 2))
    last = model.classes[1] == model.positive
    values = scores.to_numpy(zero_copy_only=False)
    pairs[:, int(last)], pairs[:, int(not last)] = values, 1 - values
    # Where the score is missing both are, as in `rows_table`.
    offsets = np.arange(0, 2 * len(read) + 1, 2, dtype=np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(pairs.reshape(-1)), mask=scores.is_null()
    )


def labels_table(lines: Sequence[Line], models: Iterable[CapturedModel]) -> pa.Table:
    """Return labels as a table: request_id, row, time, label."""
    import pyarrow as pa

    return pa.table(
        {
            "request_id": pa.array([line["request_id"] for line in lines], pa.string()),
            "row": pa.array([line["row"] for line in lines], pa.int64()),
            "time": _times([line["time"] for line in lines]),
            "label": labels_array([line["label"] for line in lines], list(models)),
        }
    )


def together(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables of several models as one, null where a model has no such column.

    Raises:
        InputError: If a column has another type in one than in the other.
    """
    import pyarrow as pa

    if not tables:
        return rows_table([], None)[0]
    types: dict[str, pa.DataType] = {}
    for table in tables:
        for field in table.schema:
            known = types.setdefault(field.name, field.type)
            if known != field.type:
                raise InputError(
                    f"the models that answered have other types there: {known} and {field.type}",
                    where=f"column {field.name!r} of the captures",
                    remedy="Read one version at a time.",
                )
    return pa.concat_tables(
        [
            pa.table(
                {
                    name: table[name].cast(kind)
                    if name in table.column_names
                    else pa.nulls(table.num_rows, kind)
                    for name, kind in types.items()
                }
            )
            for table in tables
        ]
    )


def labels_array(values: Sequence[Any], models: Sequence[CapturedModel]) -> pa.Array:
    """Return labels as an array of the classes' type, or of numbers for a regression.

    Raises:
        InputError: If the models have classes of several types.
    """
    import pyarrow as pa

    kinds = {kind for model in models if (kind := label_kind(model)) is not None}
    if len(kinds) > 1:
        raise InputError(
            f"the models that answered have labels of several types: {', '.join(sorted(kinds))}",
            where="labels of the captures",
            remedy="Read one version at a time.",
        )
    kind = next(iter(kinds), None) or _kind_of(values)
    return pa.array(_coerced(values, kind), arrow_type(kind))


def label_kind(model: CapturedModel) -> ColumnType | None:
    """Return the type of a model's labels; None: not known."""
    if model.task == "regression":
        return "number"
    return _kind_of(model.classes) if model.classes else None


def _inputs(lines: Sequence[Line], column: Column, rules: Rules) -> pa.Array:
    import pyarrow as pa

    values = [line["inputs"][column.name] for line in lines]
    plain = _PLAIN.get(column.type)
    as_they_are = plain is not None and plain.issuperset(map(type, values))
    if not as_they_are or (column.type == "string" and (rules.strip or rules.missing)):
        values = [value_of(value, rules) for value in values]
    return pa.array(values, arrow_type(column.type))


def _fits(line: Line, rules: Mapping[str, Rules]) -> bool:
    try:
        for name, rule in rules.items():
            value_of(line["inputs"][name], rule)
    except (ValueError, OverflowError, TypeError, LookupError):
        return False
    return True


def _inferred(lines: Sequence[Line]) -> tuple[Column, ...]:
    """Return columns for rows whose model is not known: the narrowest type that holds all values.

    A column with values of several types, or with other things than numbers, booleans and text, is
    text.
    """
    values: dict[str, set[type]] = {}
    for line in lines:
        for name, value in line["inputs"].items():
            values.setdefault(name, set()).add(type(value))
    return tuple(Column(name=name, type=_kind(kinds)) for name, kinds in values.items())


def _with_all(line: Line, columns: Sequence[Column]) -> Line:
    """Return a line in which inputs that its client left out are missing values."""
    given = line["inputs"]
    return {**line, "inputs": {column.name: given.get(column.name) for column in columns}}


def _kind(types: set[type]) -> ColumnType:
    found = types - {type(None)}
    narrow: tuple[ColumnType, ...] = ("boolean", "integer", "number")
    return next((kind for kind in narrow if found and found <= _PLAIN[kind]), "string")


def _kind_of(values: Iterable[Any]) -> ColumnType:
    return _kind(set(map(type, values)))


def _coerced(values: Sequence[Any], kind: ColumnType) -> list[Any]:
    """Return labels for an array; what is of another type than the classes is missing."""
    plain = [value if type(value) in _PLAIN[kind] else None for value in values]
    if kind != "integer":
        return plain
    return [None if value is None or abs(value) > _LARGEST else value for value in plain]


def _scores(line: Line, model: CapturedModel) -> list[float] | None:
    if "scores" in line:
        scores: list[float] = line["scores"]
        return scores
    score = line["score"]
    if model.task != "binary" or score is None or len(model.classes) != 2:
        return None
    return [1 - score, score] if model.classes[1] == model.positive else [score, 1 - score]


def _times(texts: Sequence[str]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    kind = pa.timestamp("us", tz="UTC")
    if all(text.endswith("+00:00") for text in texts):
        # As captures write them; numpy reads such texts twenty times as fast.
        return pa.array(np.array([text[:-6] for text in texts], "datetime64[us]"), kind)
    moments = [datetime.fromisoformat(text) for text in texts]
    return pa.array([m if m.tzinfo else m.replace(tzinfo=UTC) for m in moments], kind)
