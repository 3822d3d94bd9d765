"""The dataset that an ingest keeps for the next one, and what that must know of it.

    FOLDER/000007/part-00000.parquet ...   its rows
                  _dataset.json            its record
                  _profile.npz             the state of its profile and digest
                  _kept.json               what it was read from

A number is one ingest. Its folder appears when it is whole; the newest counts, older ones go.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from penstock.common.files import whole_folder
from penstock.data.hashing.content import digest_of_bytes
from penstock.data.profile.profiler import TableProfiler
from penstock.data.profile.state import read_state, write_state
from penstock.data.table.writer import RowsBefore
from penstock.errors import PenstockError
from penstock.records.base import Record
from penstock.records.dataset import RECORD_NAME, Column, Dataset

_KEPT = "_kept.json"
_PROFILE = "_profile.npz"


class NotContinued(Exception):  # noqa: N818 - no error: the whole source is read
    """Why a dataset cannot go on from the one before, as half a sentence."""


class Kept(Record):
    """What an ingest read, so that the next one knows what is new."""

    KIND: ClassVar[str] = "kept"

    release: str = Field(description="Of Penstock: another may read a text otherwise")
    source: dict[str, Any] = Field(description="The section `source`, without version")
    table: str = Field(default="", description="Identity of the table, where the kind has one")
    files: dict[str, str] = Field(description="Each file of the source, and what names its content")
    settled: dict[str, str] | None = Field(
        description="How each column is read; None: all rows together settled it"
    )
    parts: dict[str, str] = Field(default_factory=dict, description="Each file here, by its digest")


def newest(folder: Path) -> tuple[Path, Kept]:
    """Return the dataset that the last ingest kept, and what it was read from.

    Raises:
        NotContinued: If there is none, or it cannot be read.
    """
    numbers = _numbers(folder)
    if not numbers:
        raise NotContinued(f"no ingest kept a dataset in {folder} yet")
    place = folder / _name(numbers[-1])
    try:
        return place, Kept.read(place / _KEPT)
    except PenstockError as error:
        raise NotContinued(f"the dataset that was kept cannot be read: {error.what}") from error


def keep(folder: Path, made: Path, kept: Kept, profiler: TableProfiler) -> None:
    """Keep a dataset for the next ingest, and remove those that were kept before.

    Args:
        folder: Where; it is made.
        made: The dataset. Its files are linked where that is possible, and copied elsewhere.
        kept: What it was read from.
        profiler: What profiled and digested all its rows.

    Raises:
        InputError: If another ingest kept one meanwhile.
        OSError: If it cannot be written. What was kept before is there still.
    """
    earlier = _numbers(folder)
    place = folder / _name(earlier[-1] + 1 if earlier else 1)
    with whole_folder(place) as unfinished:
        parts = {}
        for listed in Dataset.of(made).files:
            _link(made / listed.name, unfinished / listed.name)
            parts[listed.name] = digest_of_bytes(unfinished / listed.name)
        shutil.copyfile(made / RECORD_NAME, unfinished / RECORD_NAME)
        write_state(profiler, unfinished / _PROFILE)
        parts[_PROFILE] = digest_of_bytes(unfinished / _PROFILE)
        kept.model_copy(update={"parts": parts}).write(unfinished / _KEPT)
    for number in earlier:
        shutil.rmtree(folder / _name(number), ignore_errors=True)


def rows_into(target: Path, place: Path, parts: Mapping[str, str]) -> tuple[RowsBefore, Dataset]:
    """Put the files of a kept dataset into another's folder, and check that they are the same.

    Args:
        target: The folder.
        place: The kept dataset.
        parts: The digest of each of its files.

    Returns:
        The rows, and the record of the dataset.

    Raises:
        NotContinued: If a file is gone, or its bytes are others.
    """
    try:
        dataset = Dataset.of(place)
        for listed in dataset.files:
            _link(place / listed.name, target / listed.name)
            _check(target / listed.name, parts)
        _check(place / _PROFILE, parts)
        columns = tuple(Column(name=one.name, type=one.type) for one in dataset.columns)
        profiler = read_state(place / _PROFILE, columns)
    except (OSError, PenstockError) as error:
        what = error.what if isinstance(error, PenstockError) else str(error)
        raise NotContinued(f"the dataset that was kept cannot be used: {what}") from error
    if profiler.digest.content() != dataset.content:
        raise NotContinued("the dataset that was kept has another digest than its record says")
    return RowsBefore(columns, profiler, tuple(one.rows for one in dataset.files)), dataset


def _check(path: Path, parts: Mapping[str, str]) -> None:
    if digest_of_bytes(path) != parts.get(path.name):
        raise NotContinued(f"its file {path.name} was changed after it was kept")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # Another disk, or one that has no links.
        shutil.copyfile(source, target)


def _numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(one.name) for one in folder.iterdir() if re.fullmatch(r"\d{6}", one.name))


def _name(number: int) -> str:
    return f"{number:06d}"
