"""A file in a folder of captures is written whole, whoever else writes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.captures.places import LocalPlace


def test_two_writers_with_one_process_id_write_a_whole_file_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = LocalPlace(tmp_path)
    sync = os.fsync

    def interrupted(handle: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        place.write(".", "predictions-a-1.json", b"of another pod")

    monkeypatch.setattr(os, "fsync", interrupted)
    place.write(".", "predictions-a-1.json", b"mine")
    assert place.read(".", "predictions-a-1.json") == b"mine"
    assert place.names(".") == ["predictions-a-1.json"]
