"""Work that the tests of the engine give to other processes, which import it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.errors import InputError


def squares(parts: Sequence[int]) -> list[tuple[int, int]]:
    return [(part, part * part) for part in parts]


def refused(parts: Sequence[int]) -> int:
    raise InputError("a part is torn", where=f"part {parts[0]}", remedy="Ingest again.")


def starved(parts: Sequence[int]) -> Any:
    return np.empty(1 << 60, np.int8)


def array(parts: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.array(parts, np.int64)


def process(parts: Sequence[int]) -> int:
    return os.getpid()


@dataclass(frozen=True)
class Killed:
    """Work of which the first process that does it is killed, or each that does.

    Args:
        work: The work.
        marker: A file that says that one was; None: each is killed.
    """

    work: Callable[[Sequence[Any]], Any]
    marker: Path | None

    def __call__(self, parts: Sequence[Any]) -> Any:
        first = True
        if self.marker is not None:
            try:
                self.marker.touch(exist_ok=False)
            except FileExistsError:
                first = False
        if first:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(parts)
