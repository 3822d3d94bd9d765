"""What Feast gives as the values of a feature, as a dataset stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from penstock.data import arrow
from penstock.errors import InputError
from penstock.records.dataset import ColumnType, Reading
from penstock.records.retrieval import RetrievedFeature

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

STORED: dict[str, ColumnType] = {
    "Bool": "boolean",
    "Float32": "number",
    "Float64": "number",
    "Int32": "integer",
    "Int64": "integer",
    "String": "string",
    "UnixTimestamp": "datetime",
}
"""Feast's types that a dataset can hold, and as what."""

_EXACT = 2**53


def require_stored(feature: RetrievedFeature) -> None:
    """Raise InputError if a dataset cannot hold values of a feature's type."""
    if feature.type not in STORED:
        raise InputError(
            f"the feature {feature.name!r} of {feature.view!r} is of Feast's type {feature.type}, "
            "which a table's column cannot hold",
            where="retrieve_features",
            remedy=f"Name a FeatureService without it. Taken are: {', '.join(sorted(STORED))}.",
        )


def stored(feature: RetrievedFeature, values: pd.Series[Any], reading: Reading | None) -> pa.Array:
    """Return a feature's values as a column of a dataset.

    A Float32 is rounded to 32 bits though the offline store may hold more: that is what the online
    store keeps, and what the model will be asked with.

    Args:
        feature: What it is declared as.
        values: As Feast's join gives them.
        reading: How texts of the table that they are joined to are read, if it holds texts: a
            request's are read so, whichever column they are of.

    Raises:
        InputError: If a value is not what is declared.
    """
    import pyarrow as pa

    try:
        array = pa.Array.from_pandas(values)
        return _converted(feature, array, reading)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise InputError(
            f"the feature {feature.name!r} is declared as {feature.type}, and the offline store "
            f"gives something else: {reason:.200}",
            where=f"feature view {feature.view!r}",
            remedy="Correct its type in the Feast repository, or the table behind it.",
        ) from error


def _converted(feature: RetrievedFeature, array: pa.Array, reading: Reading | None) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = STORED[feature.type]
    if kind == "number":
        small = array.cast(pa.float32(), safe=False) if feature.type == "Float32" else array
        return small.cast(pa.float64())
    if kind == "integer":
        # A join with missing values makes doubles of whole numbers, and rounds large ones.
        if pa.types.is_floating(array.type):
            largest = pc.max(pc.abs(array)).as_py()
            if largest is not None and largest > _EXACT:
                raise pa.ArrowInvalid(f"{largest:.0f} was rounded by a join with missing values")
        return array.cast(pa.int64())
    if kind == "datetime":
        if pa.types.is_timestamp(array.type) and array.type.tz is None:
            array = pc.assume_timezone(array, "UTC")
        return array.cast(pa.timestamp("us", tz="UTC"), safe=False)
    if kind == "string":
        return _read(array.cast(pa.string()), reading)
    return array.cast(pa.bool_())


def _read(texts: pa.Array, reading: Reading | None) -> pa.Array:
    import pyarrow.compute as pc

    if reading is None:
        return texts
    if reading.strip:
        texts = pc.utf8_trim_whitespace(texts)
    missing = pc.is_in(texts, value_set=arrow.texts(reading.na_values))
    return pc.if_else(missing, arrow.null(texts.type), texts)
