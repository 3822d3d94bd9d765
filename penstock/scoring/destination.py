"""Where scored rows go: parts that are whole or absent, and what is known of each.

A part is written under its own name, whole, and after it a note with its digest. What has no note,
or is not what its note says, is no part: it is scored again.
"""

from __future__ import annotations

import contextlib
import io
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from penstock.captures.places import LocalPlace, RemotePlace, digest_of
from penstock.common.progress import log
from penstock.errors import InputError, PenstockError
from penstock.processes.lock import HeldError, held
from penstock.records.dataset import Column
from penstock.records.scores import FILE_NAME, PartFile, Plan, ScoredPart, Scores
from penstock.scoring.partitions import MOST_FOLDERS, folders_of, require_columns
from penstock.scoring.refusals import RefusedRow

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, REFUSED, PROGRESS = "rows", "refused", "progress"
_PLAN, _MARK, _LOCK = "plan.json", "writer", ".lock"


@dataclass(frozen=True)
class Content:
    """What a part holds.

    Attributes:
        table: The scored rows.
        refused: The others; `row` is counted from 1 in the whole source.
    """

    table: pa.Table
    refused: Sequence[RefusedRow]


class Destination(Protocol):
    """What every kind of destination does."""

    def whole(self) -> Scores | None:
        """Return the record of a scoring that is whole; None: none is."""

    def begun(self) -> Plan | None:
        """Return what was asked for of a scoring that was begun; None: none was.

        Raises:
            InputError: If it is whole, or something else is there.
        """

    def prepare(self, columns: Sequence[Column]) -> None:
        """Take the columns that will be written, and keep others from writing there meanwhile.

        Raises:
            InputError: If the columns do not fit what is there, or another process writes there.
        """

    def begin(self, plan: Plan) -> None:
        """Note what is asked for, before the first row is scored.

        Raises:
            InputError: If another command has done so meanwhile.
        """

    def parts(self) -> list[ScoredPart]:
        """Return the parts that are whole, from the first on, without a gap."""

    def write(self, part: ScoredPart, content: Content) -> ScoredPart:
        """Write a part and then its note, and return the note."""

    def finish(self, scores: Scores) -> None:
        """Write the record: all of it is there."""

    def close(self) -> None:
        """Let others write there."""


class FolderDestination:
    """A folder of this machine, or one in an object store.

    Below it are `rows/`, `refused/`, `progress/` and, at the end, `scores.json`.

    Args:
        place: Where.
        form: parquet or csv.
        shown: Its address, for people.
        partition_by: Columns whose values name folders below `rows/`.
    """

    def __init__(
        self,
        place: LocalPlace | RemotePlace,
        *,
        form: str,
        shown: str,
        partition_by: Sequence[str] = (),
    ) -> None:
        self._place = place
        self._by = tuple(partition_by)
        self._folders: set[str] = set()
        self._ignores_case = False
        self._form = form
        self._shown = shown
        self._lock = contextlib.ExitStack()
        self._token = secrets.token_hex(8).encode()

    def whole(self) -> Scores | None:
        """See `Destination`."""
        if FILE_NAME not in self._place.names("."):
            return None
        text = self._place.read(".", FILE_NAME).decode()
        return Scores.loads(text, where=f"{self._shown}/{FILE_NAME}")

    def begun(self) -> Plan | None:
        """See `Destination`."""
        there = self._place.names(".")
        if FILE_NAME in there:
            raise InputError(
                f"a scoring that is whole is there already: {FILE_NAME}",
                where=self._shown,
                remedy="Name another destination, or remove this one.",
            )
        if _PLAN in self._place.names(PROGRESS):
            text = self._place.read(PROGRESS, _PLAN).decode()
            return Plan.loads(text, where=f"{self._shown}/{PROGRESS}/{_PLAN}")
        foreign = [name for name in there if not name.startswith(".")]
        if foreign or self._below(ROWS) or self._below(REFUSED):
            raise InputError(
                "the destination already holds files",
                where=self._shown,
                remedy="Name a folder that does not exist yet, or empty this one.",
            )
        return None

    def begin(self, plan: Plan) -> None:
        """See `Destination`."""
        if _PLAN in self._place.names(PROGRESS):
            raise taken_over(self._shown)
        self._place.write(PROGRESS, _PLAN, plan.dumps().encode())

    def prepare(self, columns: Sequence[Column]) -> None:
        """See `Destination`. Files have the columns of their rows.

        A folder is locked for as long as this process lives. A store has no locks: there the last
        to come writes its mark, and whoever finds another mark than its own before it notes a part
        has been taken over, and ends.
        """
        require_columns(self._by, columns)
        if isinstance(self._place, RemotePlace):
            self._place.write(PROGRESS, _MARK, self._token)
            return
        path = self._place.path(PROGRESS, _LOCK)
        try:
            self._lock.enter_context(held(path, now=datetime.now(UTC)))
        except HeldError as error:
            raise InputError(
                f"{error.holder} scores into this destination",
                where=self._shown,
                remedy="Wait until it has ended, or name another destination.",
            ) from error
        self._ignores_case = self._place.path(PROGRESS.upper(), _LOCK).exists()
        # Whoever held it before may have ended meanwhile, with all of it done.
        if FILE_NAME in self._place.names("."):
            self.begun()

    def parts(self) -> list[ScoredPart]:
        """See `Destination`."""
        found: list[ScoredPart] = []
        noted = set(self._place.names(PROGRESS))
        while f"{_stem(len(found))}.json" in noted:
            part = self._verified(len(found))
            if part is None:
                log(f"part {len(found)} is not what its note says, and is scored again")
                break
            found.append(part)
            self._folders |= {_placed(one.file)[0] for one in part.files}
        return found

    def write(self, part: ScoredPart, content: Content) -> ScoredPart:
        """See `Destination`."""
        stem = _stem(part.number)
        files: dict[str, Any] = {}
        if self._by:
            files |= {"files": self._divided(part, content.table)}
        elif content.table.num_rows:
            one = self._file(ROWS, stem, content.table)
            files |= {"file": one.file, "file_digest": one.digest}
        if content.refused:
            data = b"".join(one.json() + b"\n" for one in content.refused)
            self._place.write(REFUSED, f"{stem}.jsonl", data)
            files |= {"refused_file": f"{REFUSED}/{stem}.jsonl", "refused_digest": digest_of(data)}
        self._require_mark()
        noted = part.model_copy(update=files)
        self._place.write(PROGRESS, f"{stem}.json", noted.dumps().encode())
        return noted

    def finish(self, scores: Scores) -> None:
        """See `Destination`."""
        self._require_mark()
        self._sweep(scores)
        self._place.write(".", FILE_NAME, scores.dumps().encode())

    def close(self) -> None:
        """See `Destination`."""
        self._lock.close()

    def _divided(self, part: ScoredPart, table: pa.Table) -> tuple[PartFile, ...]:
        """Write a part's rows into their folders, one file after another."""
        folders = {f"{ROWS}/{path}": rows for path, rows in folders_of(table, self._by).items()}
        there = self._folders | folders.keys()
        if len(there) > MOST_FOLDERS:
            raise InputError(
                f"the first {part.start + part.rows:,} rows have {len(there):,} different values "
                f"of {', '.join(self._by)}, and {MOST_FOLDERS:,} may be folders",
                where="--partition-by",
                remedy="Divide the rows by a column of fewer values, into another destination.",
            )
        if self._ignores_case and len({path.casefold() for path in there}) < len(there):
            raise InputError(
                f"values of {', '.join(self._by)} differ only in capital letters, and the file "
                "system has one folder for both",
                where="--partition-by",
                remedy="Name a destination in a store, or divide the rows by another column.",
            )
        self._folders = there
        stem, rest = _stem(part.number), table.drop_columns(list(self._by))
        return tuple(
            self._file(folder, stem, rest.take(rows)) for folder, rows in sorted(folders.items())
        )

    def _file(self, folder: str, stem: str, table: pa.Table) -> PartFile:
        name = f"{stem}.{self._form}"
        data = _bytes_of(table, self._form)
        self._place.write(folder, name, data)
        return PartFile(file=f"{folder}/{name}", digest=digest_of(data), rows=table.num_rows)

    def _below(self, top: str) -> list[tuple[str, str]]:
        """Return all files in a folder and those below it: folder and name."""
        folders = {
            folder: names
            for folder, names in self._place.folders().items()
            if folder == top or folder.startswith(f"{top}/")
        }
        return [(folder, name) for folder, names in folders.items() for name in names]

    def _require_mark(self) -> None:
        if isinstance(self._place, LocalPlace):
            return
        if self._place.read(PROGRESS, _MARK) != self._token:
            raise taken_over(self._shown)

    def _verified(self, number: int) -> ScoredPart | None:
        """Return a part whose files are what its note says; None where they are not."""
        name = f"{_stem(number)}.json"
        try:
            part = ScoredPart.loads(self._place.read(PROGRESS, name).decode(), where=name)
            for file, digest in _files_of(part).items():
                if digest_of(self._place.read(*_placed(file))) != digest:
                    return None
        except (FileNotFoundError, UnicodeDecodeError, PenstockError):
            return None
        return part if part.number == number else None

    def _sweep(self, scores: Scores) -> None:
        """Remove what a killed process left in the folders that are read."""
        listed = {file for part in scores.parts for file in _files_of(part)}
        for folder, name in [*self._below(ROWS), *self._below(REFUSED)]:
            if f"{folder}/{name}" not in listed:
                self._place.remove(folder, name)


def taken_over(where: str) -> InputError:
    """Return what a command ends with that finds another one at its destination."""
    return InputError(
        "another command has begun to score into this destination meanwhile",
        where=where,
        remedy="Leave it to that one; if it has ended, give this command again.",
    )


def require_same(begun: Plan, asked: Plan, *, where: str) -> None:
    """Return only if a scoring that goes on was asked for the same.

    Raises:
        InputError: Naming what is another.
    """
    for field in sorted(Plan.model_fields.keys() - {"started", "run", "version"}):
        before, now = getattr(begun, field), getattr(asked, field)
        if before != now:
            raise InputError(
                f"the scoring that was begun there has another {field}: {before!s:.200}, "
                f"now {now!s:.200}",
                where=where,
                remedy="Ask for the same to go on with it, or name another destination.",
            )


def _stem(number: int) -> str:
    return f"part-{number:05d}"


def _files_of(part: ScoredPart) -> Mapping[str, str]:
    named = {part.file: part.file_digest, part.refused_file: part.refused_digest}
    named |= {one.file: one.digest for one in part.files}
    return {file: digest for file, digest in named.items() if file}


def _placed(file: str) -> tuple[str, str]:
    """Return a file's folder and name."""
    folder, _, name = file.rpartition("/")
    return folder, name


def _bytes_of(table: pa.Table, form: str) -> bytes:
    stream = io.BytesIO()
    if form == "csv":
        from pyarrow import csv

        csv.write_csv(table, stream)
    else:
        import pyarrow.parquet as pq

        pq.write_table(table, stream, compression="snappy")
    return stream.getvalue()
