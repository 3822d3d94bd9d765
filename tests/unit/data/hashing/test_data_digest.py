from __future__ import annotations

import hashlib
import json
import random
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.data.hashing.digest import CellHasher, RowDigest, hash_rows
from penstock.data.table import write_dataset
from penstock.data.types.storage import columns_of

M1, M2, MASK = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, (1 << 64) - 1


# The documented formula once more, value by value, in plain integers.
def mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * M1) & MASK
    z = ((z ^ (z >> 27)) * M2) & MASK
    return z ^ (z >> 31)


def text(value: str) -> int:
    raw = value.encode()
    if len(raw) > 64:
        return xxhash.xxh3_64_intdigest(raw)
    state = len(raw) * M2 & MASK
    for at in range(0, len(raw), 8):
        word = int.from_bytes(raw[at : at + 8].ljust(8, b"\0"), "little")
        state = ((state ^ word) * M1) & MASK
        state ^= state >> 32
    return state * M2 & MASK


def bits(value: Any, kind: str) -> int:
    if kind == "string":
        return text(value)
    if kind == "number":
        return int.from_bytes(struct.pack("<d", value + 0.0), "little")
    if kind == "datetime":
        delta = value - datetime(1970, 1, 1, tzinfo=UTC)
        return (delta.days * 86_400_000_000 + delta.seconds * 10**6 + delta.microseconds) & MASK
    return int(value) & MASK


def reference(rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    sums = [0, 0]
    for row in rows:
        first = second = 0
        for name, kind in columns:
            key = f"{kind}\0{name}".encode()
            salt, missing, weight = (xxhash.xxh3_64_intdigest(key, seed=s) for s in range(3))
            value = row[name]
            cell = missing if value is None else mix(bits(value, kind) ^ salt)
            first += cell
            second += (weight | 1) * cell
        sums = [(sums[0] + mix(first & MASK)) & MASK, (sums[1] + mix(second & MASK)) & MASK]
    body = {
        "columns": sorted([name, kind] for name, kind in columns),
        "rows": len(rows),
        "sums": [f"{total:016x}" for total in sums],
    }
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "rows1:" + hashlib.sha256(canonical.encode()).hexdigest()[:32]


KNOWN = "rows1:534509a380585a4695327e0a85f69717"

COLUMNS = [
    ("count", "integer"),
    ("größe", "number"),
    ("flag", "boolean"),
    ("word", "string"),
    ("at", "datetime"),
]
SCHEMA = pa.schema(
    [
        ("count", pa.int64()),
        ("größe", pa.float64()),
        ("flag", pa.bool_()),
        ("word", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
    ]
)
ROW = st.fixed_dictionaries(
    {
        "count": st.none() | st.integers(-(2**63), 2**63 - 1),
        "größe": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "flag": st.none() | st.booleans(),
        "word": st.none() | st.text(st.characters(codec="utf-8"), max_size=90),
        "at": st.none() | st.datetimes(timezones=st.just(UTC)),
    }
)


def content(table: pa.Table) -> str:
    columns = columns_of(table.schema)
    digest = RowDigest(columns)
    for batch in table.to_batches():
        hashers = map(CellHasher, columns)
        cells = ((h, h.hashes(array)) for h, array in zip(hashers, batch.columns, strict=True))
        digest.add(hash_rows(cells, rows=batch.num_rows))
    return digest.content()


@given(st.lists(ROW, min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_the_digest_is_the_documented_formula(rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)

    assert content(table) == reference(rows, COLUMNS)


def test_the_digest_of_a_known_table_never_changes() -> None:
    rows = [
        {
            "count": 1,
            "größe": 0.5,
            "flag": True,
            "word": "",
            "at": datetime(2026, 1, 1, tzinfo=UTC),
        },
        {"count": None, "größe": None, "flag": None, "word": None, "at": None},
        {"count": -7, "größe": -0.0, "flag": False, "word": "ä" * 40, "at": None},
    ]

    assert content(pa.Table.from_pylist(rows, schema=SCHEMA)) == KNOWN


@given(st.lists(ROW, min_size=2, max_size=40), st.randoms(), st.integers(1, 7))
@settings(deadline=None, max_examples=40)
def test_no_order_counts(rows: list[dict[str, Any]], chance: random.Random, size: int) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    shuffled = pa.Table.from_pylist(chance.sample(rows, len(rows)), schema=SCHEMA)
    names = chance.sample(SCHEMA.names, len(SCHEMA))
    chunked = pa.Table.from_batches(shuffled.select(names).to_batches(max_chunksize=size))

    assert content(chunked) == content(table)


TABLE = pa.table({"a": [1, 2, 3], "b": ["x", "", None], "c": [0.5, 1.5, 2.5]})


@pytest.mark.parametrize(
    "other",
    [
        TABLE.slice(1),
        pa.concat_tables([TABLE, TABLE.slice(2)]),
        TABLE.set_column(0, "a", pa.array([1, 2, 4])),
        TABLE.set_column(0, "a", pa.array([2, 1, 3])),
        TABLE.set_column(0, "a", pa.array([1.0, 2.0, 3.0])),
        TABLE.set_column(1, "b", pa.array(["x", None, None])),
        TABLE.set_column(1, "b", pa.array(["x", "", ""])),
        TABLE.set_column(1, "b", pa.array(["x", "\0", None])),
        TABLE.rename_columns(["a", "b", "d"]),
        TABLE.rename_columns(["c", "b", "a"]),
        TABLE.drop_columns(["c"]),
    ],
)
def test_any_other_table_has_another_digest(other: pa.Table) -> None:
    assert content(other) != content(TABLE)


def test_minus_zero_is_zero_but_nothing_else_is_rounded() -> None:
    digests = {
        content(pa.table({"a": pa.array([value])})) for value in (0.0, -0.0, 5e-324, 1e-300, 1.0)
    }

    assert len(digests) == 4


def test_swapping_cells_between_rows_is_seen() -> None:
    # Sums over columns and over rows must not let values trade places.
    one = pa.table({"a": [1.0, 2.0], "b": [1.0, 2.0]})
    two = pa.table({"a": [1.0, 2.0], "b": [2.0, 1.0]})

    assert content(one) != content(two)


def test_encodings_and_slices_do_not_count(tmp_path: Path) -> None:
    words = ["one", None, "three", "one", ""] * 50
    plain = pa.table({"w": pa.array(words, pa.string()), "n": pa.array(range(250), pa.int64())})
    forms = [
        plain,
        pa.table({"w": plain["w"].dictionary_encode(), "n": plain["n"].cast(pa.int16())}),
        pa.table({"w": plain["w"].cast(pa.large_string()), "n": plain["n"].cast(pa.uint32())}),
        pa.concat_tables([plain.slice(137), plain.slice(0, 13), plain.slice(13, 124)]),
    ]
    digests = {
        write_dataset([form], output=tmp_path / str(at), source="test").content
        for at, form in enumerate(forms)
    }

    assert digests == {content(plain)}
