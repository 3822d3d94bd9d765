"""Captured lines as they were written, the oldest first, for who looks at one folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from penstock.captures.segments import Kind
from penstock.errors import InputError


class Reader:
    """Iterates over captured lines; `torn` counts those that were skipped, once it is through.

    A file that the server removes meanwhile, to make room, is left out.

    Args:
        folder: What a server was given as `--capture`.
        kind: Which lines.
        rows: Leave out the oldest files, where the others hold so many lines; None: read all.

    Raises:
        InputError: If the folder does not exist.
    """

    def __init__(self, folder: Path, kind: Kind, *, rows: int | None = None) -> None:
        if not folder.is_dir():
            raise InputError("the capture folder does not exist", where=str(folder))
        self._paths = _paths(folder, kind)
        if rows is not None:
            self._paths = _holding(self._paths, rows)
        self.torn = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.torn = 0
        for path in self._paths:
            try:
                stream = path.open("rb")
            except FileNotFoundError:
                continue
            with stream:
                for line in stream:
                    if line.isspace():
                        continue  # It was erased.
                    try:
                        yield orjson.loads(line)
                    except orjson.JSONDecodeError:
                        self.torn += 1


def read(folder: Path, *, kind: Kind = "predictions") -> Reader:
    """Return what was captured, the oldest first.

    Each prediction has `request_id`, `row`, `time`, `version`, `mirrored`, `replayed`, `inputs`,
    `score` and `label`; each feedback `request_id`, `row`, `time` and `label`.

    Raises:
        InputError: If the folder does not exist.
    """
    return Reader(folder, kind)


def newest(folder: Path, *, rows: int, kind: Kind = "predictions") -> Reader:
    """Return the newest lines of a kind, at least `rows` if there are as many, the oldest first.

    Raises:
        InputError: If the folder does not exist.
    """
    return Reader(folder, kind, rows=rows)


def joined(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the captured predictions whose true label has come, with it as `truth`.

    As in the live figures, the first label of a row counts, and the first answer to an id.

    Raises:
        InputError: If the folder does not exist.
    """
    truths: dict[tuple[str, int], Any] = {}
    for line in read(folder, kind="feedback"):
        truths.setdefault((line["request_id"], line["row"]), line["label"])
    for line in read(folder):
        key = (line["request_id"], line["row"])
        if key in truths:
            yield {**line, "truth": truths.pop(key)}


def _holding(paths: list[Path], rows: int) -> list[Path]:
    for place in reversed(range(len(paths))):
        with contextlib.suppress(FileNotFoundError), paths[place].open("rb") as stream:
            rows -= sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
        if rows <= 0:
            return paths[place:]
    return paths


def _paths(folder: Path, kind: Kind) -> list[Path]:
    return sorted(folder.glob(f"{kind}-*.jsonl"))
