"""One process at a time, and who it is."""

from __future__ import annotations

import fcntl
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.processes.lock import HeldError, held, holder_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def test_a_second_one_learns_who_holds_it_and_since_when(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    assert holder_of(path) is None
    with held(path, now=NOW):
        with pytest.raises(HeldError) as refused, held(path, now=NOW):
            pass
        assert refused.value.holder == holder_of(path)
        assert f"process {os.getpid()} on " in str(refused.value)
        assert "since 2026-11-29T00:00:00+00:00" in str(refused.value)
    assert holder_of(path) is None
    with held(path, now=NOW):
        pass


def test_who_only_looks_keeps_nobody_from_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        over = threading.Timer(0.05, fcntl.flock, (looking, fcntl.LOCK_UN))
        over.start()
        with held(path, now=NOW):
            pass
        over.join()
