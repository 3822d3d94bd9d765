"""The content digest of a table: the same for the same rows, however they are stored.

The formula, `rows1`. All arithmetic is on unsigned 64-bit integers, modulo 2^64.

- `mix` is the finaliser of SplitMix64 (Steele, Lea, Flood 2014; Stafford's variant 13).
- A value's bits `c`: an integer as two's complement; a number as IEEE 754 binary64, -0 as 0; a
  boolean as 0 or 1; a datetime as microseconds since 1970 UTC; a text as `text(s)` below.
- Of a column with name and type: `salt = xxh3_64(type NUL name)`, `missing = xxh3_64(type NUL name,
  seed 1)` and `weight = xxh3_64(type NUL name, seed 2) | 1`.
- A cell is `h = mix(c XOR salt)`, or `missing` when it is null (an empty text is not null).
- A row is `r1 = mix(sum of h)` and `r2 = mix(sum of weight * h)`, over its columns.
- The table is `sum of r1` and `sum of r2` over its rows; these, the number of rows and the sorted
  names and types go, as canonical JSON, through SHA-256, of which the first 128 bits are kept.
- `text(s)`, over the UTF-8 bytes: of more than 64 bytes, `xxh3_64`; else start from `length * M2`,
  for every 8 bytes (little-endian, the last padded with zeros) `a = (a XOR word) * M1` and
  `a = a XOR (a >> 32)`, and at the end `a * M2`.

Sums do not depend on order, so neither rows, files, columns nor chunks need one. Two different
tables share a digest by accident with a probability of about 2^-120, or 2^-64 where they differ
only in texts. The formula is keyless and additive: somebody who wants to can construct another
table with the same digest. It identifies data; it is no signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

from penstock.common import files
from penstock.data import arrow
from penstock.records.dataset import Column

if TYPE_CHECKING:
    import pyarrow as pa

Hashes: TypeAlias = npt.NDArray[np.uint64]

ALGORITHM = "rows1"

_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_WORD = 8
_LONG_TEXT = 64
_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(_WORD + 1)], dtype=np.uint64)


def mix(values: Hashes) -> Hashes:
    """Scramble 64-bit values in place by a bijection, and return them."""
    scratch = np.right_shift(values, np.uint64(30))
    np.bitwise_xor(values, scratch, out=values)
    np.multiply(values, _M1, out=values)
    np.right_shift(values, np.uint64(27), out=scratch)
    np.bitwise_xor(values, scratch, out=values)
    np.multiply(values, _M2, out=values)
    np.right_shift(values, np.uint64(31), out=scratch)
    np.bitwise_xor(values, scratch, out=values)
    return values


class CellHasher:
    """Turns the values of one column into 64-bit hashes.

    Args:
        column: The column's name and type, which salt the hashes.
    """

    def __init__(self, column: Column) -> None:
        text = f"{column.type}\0{column.name}".encode()
        self.type = column.type
        self.salt = np.uint64(xxhash.xxh3_64_intdigest(text))
        self.missing = np.uint64(xxhash.xxh3_64_intdigest(text, seed=1))
        self.weight = np.uint64(xxhash.xxh3_64_intdigest(text, seed=2) | 1)

    def hashes(self, array: pa.Array) -> Hashes:
        """Return one hash a row of a plain (not dictionary) array of the column's storage type."""
        bits = _text_bits(array) if self.type == "string" else _bits(array)
        hashed = mix(np.bitwise_xor(bits, self.salt, out=bits))
        if array.null_count:
            hashed[_null_mask(array)] = self.missing
        return hashed


@dataclass(frozen=True)
class RowHashes:
    """Both hashes of some rows, shape (n,) each.

    Attributes:
        first: Identifies a row's content.
        second: Is only added up, for the digest.
    """

    first: Hashes
    second: Hashes

    def select(self, rows: npt.NDArray[np.bool_]) -> RowHashes:
        """Return the hashes of the rows for which a mask is true."""
        return RowHashes(self.first[rows], self.second[rows])


def hash_rows(cells: Iterable[tuple[CellHasher, Hashes]], *, rows: int) -> RowHashes:
    """Return the hashes of a batch's rows.

    Args:
        cells: Of each column what hashes it and the hashes of its cells, which are overwritten.
        rows: How many rows there are.
    """
    first, second = np.zeros(rows, dtype=np.uint64), np.zeros(rows, dtype=np.uint64)
    for hasher, hashes in cells:
        np.add(first, hashes, out=first)
        np.multiply(hashes, hasher.weight, out=hashes)
        np.add(second, hashes, out=second)
    return RowHashes(mix(first), mix(second))


class RowDigest:
    """Adds up the rows of a table, batch by batch.

    Attributes:
        rows: Rows added so far.
        sums: The two sums over their row hashes; those of two parts add up to those of the whole.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.rows = 0
        self.sums = (0, 0)
        self._schema = sorted([column.name, column.type] for column in columns)

    def add(self, rows: RowHashes) -> None:
        """Add some rows."""
        self.rows += len(rows.first)
        self.sums = (
            (self.sums[0] + int(rows.first.sum())) % (1 << 64),
            (self.sums[1] + int(rows.second.sum())) % (1 << 64),
        )

    def content(self) -> str:
        """Return the digest, `rows1:<32 hex digits>`."""
        body = {
            "columns": self._schema,
            "rows": self.rows,
            "sums": [f"{total:016x}" for total in self.sums],
        }
        whole = files.digest_of_text(files.canonical_json(body)).removeprefix("sha256:")
        return f"{ALGORITHM}:{whole[:32]}"


def _null_mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    return arrow.flags(array.is_null())


def _bits(array: pa.Array) -> Hashes:
    """Return the 64 bits of each value as a fresh array; nulls hold anything."""
    import pyarrow as pa

    if pa.types.is_boolean(array.type):
        flags = arrow.numbers(array.cast(pa.uint8()))
        return np.asarray(flags).astype(np.uint64)
    stored = np.frombuffer(array.buffers()[1], dtype=np.uint64)
    window = stored[array.offset : array.offset + len(array)]
    if pa.types.is_floating(array.type):
        # Adding 0.0 turns -0.0 into 0.0 and leaves every other value as it is.
        return np.add(window.view(np.float64), 0.0).view(np.uint64)
    return window.copy()


def _text_bits(array: pa.Array) -> Hashes:
    """Return `text(s)` of each value of a string array; nulls hold anything."""
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)
    offsets = offsets[array.offset : array.offset + len(array) + 1].astype(np.int64)
    data = array.buffers()[2]
    raw = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, np.uint8)
    padded = np.zeros(int(offsets[-1] - offsets[0]) + _WORD, dtype=np.uint8)
    padded[:-_WORD] = raw[offsets[0] : offsets[-1]]
    # One 64-bit word at every byte position, overlapping: a gather reads the word of each text.
    words = np.ndarray((len(padded) - _WORD + 1,), dtype="<u8", buffer=padded.data, strides=(1,))
    starts = offsets[:-1] - offsets[0]
    lengths = np.diff(offsets)
    state = lengths.astype(np.uint64)
    np.multiply(state, _M2, out=state)
    for done in range(0, min(_LONG_TEXT, int(lengths.max(initial=0))), _WORD):
        _absorb(state, words, starts, lengths, done)
    np.multiply(state, _M2, out=state)
    long = np.flatnonzero(lengths > _LONG_TEXT)
    if len(long):
        begins, ends = starts[long], starts[long] + lengths[long]
        spans = zip(begins.tolist(), ends.tolist(), strict=True)
        state[long] = [xxhash.xxh3_64_intdigest(padded.data[at:end]) for at, end in spans]
    return state


def _absorb(
    state: Hashes,
    words: Hashes,
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    done: int,
) -> None:
    """Work the next eight bytes of every text that has them into its state."""
    rows = np.flatnonzero((lengths > done) & (lengths <= _LONG_TEXT))
    everyone = len(rows) == len(lengths)
    at = starts + done if everyone else starts[rows] + done
    left = lengths - done if everyone else lengths[rows] - done
    word = words[at]
    np.bitwise_and(word, _MASKS[np.minimum(left, _WORD)], out=word)
    np.bitwise_xor(word, state if everyone else state[rows], out=word)
    np.multiply(word, _M1, out=word)
    np.bitwise_xor(word, np.right_shift(word, np.uint64(32)), out=word)
    if everyone:
        state[:] = word
    else:
        state[rows] = word
