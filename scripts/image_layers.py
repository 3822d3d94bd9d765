"""Say whether two images have the same layers, and exit with 1 if they do not.

    python scripts/image_layers.py penstock/data:0.1.0 penstock/data:again

Layers are the same when their bytes are. What a layer deletes of those below it is written with the
time of the build by engines that offer nothing against that: such a layer is said to be the same
but for these times, and counts as the same.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from typing import IO

_DELETION = ".wh."
"""How the name of an entry begins that deletes a file (OCI image specification, layer.md)."""

_PIECE = 2**20


def main() -> int:
    """Print a line for each layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first")
    parser.add_argument("again")
    parser.add_argument("--docker", default="docker", help="the client to use (%(default)s)")
    options = parser.parse_args()
    failed = False
    with (
        _saved(options.docker, options.first) as first,
        _saved(options.docker, options.again) as again,
    ):
        for number, pair in enumerate(zip_longest(_layers(first), _layers(again))):
            said, same = _compared(*pair)
            failed |= not same
            print(f"{options.first} layer {number}: {said}")
    return failed


@contextlib.contextmanager
def _saved(docker: str, reference: str) -> Iterator[tarfile.TarFile]:
    with tempfile.TemporaryFile() as archive:
        subprocess.run([docker, "save", reference], stdout=archive, check=True)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as image:
            yield image


def _layers(image: tarfile.TarFile) -> Iterator[IO[bytes]]:
    for name in json.loads(_member(image, "manifest.json").read())[0]["Layers"]:
        yield _member(image, name)


def _member(image: tarfile.TarFile, name: str) -> IO[bytes]:
    found = image.extractfile(name)
    assert found is not None
    return found


def _compared(first: IO[bytes] | None, again: IO[bytes] | None) -> tuple[str, bool]:
    if first is None or again is None:
        return "the other image has none", False
    digest = _digest(first)
    if digest == _digest(again):
        return f"sha256:{digest}", True
    before, after = _entries(first), _entries(again)
    if list(before.items()) == list(after.items()):
        deleted = sum(name.rpartition("/")[2].startswith(_DELETION) for name in before)
        return f"the same but for the times of {deleted} deletions", True
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return f"{len(names)} entries differ: {', '.join(sorted(names)[:5]) or 'their order'}", False


def _digest(content: IO[bytes]) -> str:
    content.seek(0)
    digest = hashlib.sha256()
    while piece := content.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def _entries(layer: IO[bytes]) -> dict[str, tuple[object, ...]]:
    """Return what a layer says of each of its files, in its order; of a deletion not the time."""
    layer.seek(0)
    with tarfile.open(fileobj=layer) as files:
        return {entry.name: _described(files, entry) for entry in files}


def _described(files: tarfile.TarFile, entry: tarfile.TarInfo) -> tuple[object, ...]:
    deletes = entry.name.rpartition("/")[2].startswith(_DELETION)
    content = files.extractfile(entry)
    return (
        None if deletes else entry.mtime, entry.type, entry.mode, entry.uid, entry.gid,
        entry.linkname, _digest(content) if content else "",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
