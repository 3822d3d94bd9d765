"""Files and folders are whole or absent, and a digest says when one is not the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from penstock.common import files
from penstock.errors import InputError


def test_a_folder_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def half_write() -> None:
        with files.whole_folder(target) as beside:
            (beside / "half").write_text("x")
            raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="disk"):
        half_write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_kubeflow_made_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with files.whole_folder(tmp_path / "out") as beside:
        (beside / "a").write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out/a").read_text() == "x"


def test_a_folder_with_content_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("x")
    with (
        pytest.raises(InputError, match="already holds files"),
        files.whole_folder(tmp_path / "out"),
    ):
        pass
    assert (tmp_path / "out/old").exists()


def test_what_a_killed_process_left_goes_and_what_is_in_use_stays(tmp_path: Path) -> None:
    """Both are folders of the same target: only a lock distinguishes them."""
    target = tmp_path / "out"
    child = os.fork()
    if child == 0:
        with files.folder_beside(target, kind="hashes") as beside:
            (beside / "half").write_text("x")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    (tmp_path / ".out.hashes-mine").mkdir()
    with files.folder_beside(target, kind="hashes") as used:
        assert not left.exists()
        with files.folder_beside(target, kind="hashes") as another:
            assert {used, another} < set(tmp_path.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == [".out.hashes-mine"]


def test_text_is_replaced_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "a" / "text"
    files.write_text(path, "one")
    files.write_text(path, "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [found.name for found in path.parent.iterdir()] == ["text"]


def test_a_folders_digest_knows_names_and_content_only(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
    for path in ("one/sub/x", "two/sub/x"):
        (tmp_path / path).write_text("same")
    os.utime(tmp_path / "two/sub/x", (0, 0))
    same = files.digest_of_folder(tmp_path / "one")
    assert files.digest_of_folder(tmp_path / "two") == same
    (tmp_path / "two/sub/x").rename(tmp_path / "two/sub/y")
    assert files.digest_of_folder(tmp_path / "two") != same
    (tmp_path / "one/sub/x").write_text("other")
    assert files.digest_of_folder(tmp_path / "one") != same


def test_a_folder_that_cannot_be_vouched_for_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        files.digest_of_folder(tmp_path / "absent")
    with pytest.raises(InputError, match="no file"):
        files.digest_of_folder(tmp_path)
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="symbolic link"):
        files.digest_of_folder(tmp_path)
