"""Where rows of CSV end: at a line's end that no quotation mark encloses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_NEWLINE, _RETURN = 10, 13


def last_row_end(data: bytes, *, quote: str, delimiter: str) -> int:
    """Return the end of the last whole row, or 0; a line end in quotation marks ends none.

    Args:
        data: Bytes that begin with a row.
        quote: The quotation mark.
        delimiter: What stands before an opening quotation mark.
    """
    end = data.rfind(b"\n")
    if end < 0 or quote.encode() not in data:
        return end + 1
    quotes = structural_quotes(data, quote=quote, delimiter=delimiter)
    while end >= 0:
        before = int(np.searchsorted(quotes, end))
        if before % 2 == 0:
            return end + 1
        end = data.rfind(b"\n", 0, int(quotes[before - 1]))
    return 0


def structural_quotes(data: bytes, *, quote: str, delimiter: str) -> npt.NDArray[np.int64]:
    """Return where quotation marks open or close; one amid an unquoted cell is only a letter."""
    raw = np.frombuffer(data, dtype=np.uint8)
    places = np.flatnonzero(raw == ord(quote))
    edges = np.zeros(256, dtype=np.bool_)
    edges[[ord(quote), ord(delimiter), _NEWLINE, _RETURN]] = True
    before = raw[np.maximum(places[0::2] - 1, 0)]
    after = raw[np.minimum(places[1::2] + 1, len(raw) - 1)]
    opening = edges[before] | (places[0::2] == 0)
    if opening.all() and edges[after].all():
        return places
    return _walk(data, places, ord(quote), edges)


def _walk(
    data: bytes, places: npt.NDArray[np.int64], quote: int, edges: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Do the same mark by mark, as a parser would."""
    kept: list[int] = []
    skipped = -1
    for place in places.tolist():
        if place == skipped:
            continue
        inside = len(kept) % 2 == 1
        if inside and place + 1 < len(data) and data[place + 1] == quote:
            skipped = place + 1
        elif inside or place == 0 or edges[data[place - 1]]:
            kept.append(place)
    return np.array(kept, dtype=np.int64)
