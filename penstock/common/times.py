"""Times as numpy has them, without pandas, which servers do not import."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAT = -(2**63)
"""The count of microseconds that numpy takes for no time."""


def times_of(values: Sequence[datetime | None] | np.ndarray) -> np.ndarray:
    """Return aware datetimes, None for missing, as datetime64[us] in UTC, NaT for missing.

    An array of datetime64 is taken as UTC already.
    """
    import numpy as np

    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return values.astype("datetime64[us]", copy=False)
    counts = [_NAT if t is None else (t - _EPOCH) // _MICROSECOND for t in values]
    return np.array(counts, dtype=np.int64).view("datetime64[us]")
