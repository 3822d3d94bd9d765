"""Files that are either whole or absent, and what identifies them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from penstock.errors import InputError

_BLOCK = 1 << 20


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no spaces: equal values give equal text.

    Raises:
        ValueError: If the value holds NaN or an infinity, which JSON cannot.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_of_text(text: str) -> str:
    """Return `sha256:<hex>` of the UTF-8 bytes of `text`."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return `sha256:<hex>` of a file's bytes, read in blocks."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            state.update(block)
    return "sha256:" + state.hexdigest()


def digest_of_folder(folder: Path, *, without: Collection[str] = ()) -> str:
    """Return `sha256:<hex>` over the relative name and content of every file below `folder`.

    Names are sorted, so the order in which a file system lists them does not matter; dates, owners,
    modes and empty folders do not count. A symbolic link is refused, because what it leads to can
    change without the folder changing, and so is whatever else is neither file nor folder.

    Args:
        folder: The folder.
        without: Files that do not count, each by its whole name relative to `folder`, with `/`.

    Raises:
        InputError: If the folder is absent or empty, or holds something that cannot be digested.
    """
    return digest_of_text(canonical_json(digests_of_folder(folder, without=without)))


def digests_of_folder(folder: Path, *, without: Collection[str] = ()) -> dict[str, str]:
    """Return `sha256:<hex>` of every file below `folder`, by its name relative to it, with `/`.

    Args:
        folder: The folder.
        without: Files that do not count, by such names.

    Raises:
        InputError: As `digest_of_folder`.
    """
    if not folder.is_dir():
        raise InputError("the folder does not exist", where=str(folder))
    listing = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise InputError(
                "a symbolic link cannot be digested",
                where=str(path),
                remedy="Replace the link by the file it leads to.",
            )
        if path.is_dir():
            continue
        if not path.is_file():
            raise InputError(
                "neither a file nor a folder, so it cannot be digested",
                where=str(path),
                remedy="Remove it: only files and folders belong here.",
            )
        name = path.relative_to(folder).as_posix()
        if name not in without:
            listing[_utf8(name, where=folder)] = digest_of_file(path)
    if not listing:
        raise InputError("the folder holds no file", where=str(folder))
    return listing


def _utf8(name: str, *, where: Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the file name {name!r} is not UTF-8, so it cannot be digested",
            where=str(where),
            remedy="Rename the file.",
        ) from error
    return name


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write a file so that a reader sees all of it or none: beside first, then renamed over.

    Args:
        path: The file.
        text: All of it.
        private: Nobody but this user may read it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes private files; what a step writes is read by other users' processes.
        if not private:
            Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def private_log(path: Path) -> TextIO:
    """Open a new file to write to that nobody else may read: libraries print what they like."""
    path.touch(mode=0o600)
    return path.open("w", encoding="utf-8")


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to fill; it becomes `target` only when the block ends without an error.

    Kubeflow makes an output's folder before the step runs, so an existing empty `target` is
    replaced.

    Raises:
        InputError: If `target` already holds something.
    """
    if target.is_dir() and any(target.iterdir()):
        raise InputError(
            "the output folder already holds files",
            where=str(target),
            remedy="Name a folder that does not exist yet, or empty this one.",
        )
    with folder_beside(target, kind="unfinished") as beside:
        yield beside
        beside.chmod(0o755)
        if target.is_dir():
            target.rmdir()
        beside.rename(target)


@contextlib.contextmanager
def folder_beside(target: Path, *, kind: str) -> Iterator[Path]:
    """Yield an empty folder beside a target, `.TARGET.KIND-XXXXXXXX`, which goes with the block.

    What a process that was killed left of such folders goes too. One that is in use is locked, for
    as long as its process lives, and stays. A block may rename its folder: then it is kept.

    Args:
        target: What the folder is for.
        kind: What it holds, in a word: it may be seen after a kill.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.{kind}-"
    _remove_left(target.parent, prefix)
    # It gets its name once it is locked: until then another process does not know it.
    new = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.new-"))
    folder = new.with_name(prefix + new.name[-8:])
    with _locked(new):
        try:
            new.rename(folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a folder while the block runs, and yield whether that succeeded: some disks cannot."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _remove_left(parent: Path, prefix: str) -> None:
    """Remove what nobody uses; what cannot be seen or removed stays."""
    with contextlib.suppress(OSError):
        for folder in list(parent.iterdir()):
            if re.fullmatch(re.escape(prefix) + "[a-z0-9_]{8}", folder.name):
                with contextlib.suppress(OSError), _locked(folder) as unused:
                    if unused:
                        shutil.rmtree(folder, ignore_errors=True)
