"""Take out of an environment what nothing in an image reads: `left-out.toml` names it and why.

    python slim.py left-out.toml /opt/penstock/lib/python3.11/site-packages --strict

Run in the build stages alone. Says which paths name nothing, and with --strict exits with 1 then.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LOADED = 1
"""The kind of a segment that is mapped into memory (PT_LOAD, elf(5))."""


def main(listed: Path, packages: Path, *options: str) -> int:
    """Delete what is listed, then the symbols of compiled modules that only debuggers read."""
    rules = tomllib.loads(listed.read_text(encoding="utf-8"))
    installed = {_normal(path.name.split("-")[0]) for path in packages.glob("*.dist-info")}
    wrong = []
    for library, rule in rules["libraries"].items():
        if _normal(library) in installed:
            wrong += [f"{library}: {path}" for path in _unlisted(packages, rule)]
    _delete_kinds(packages, folders=rules["folders"], suffixes=rules["suffixes"])
    for one in wrong:
        print(f"{listed.name} names what is not there: {one}", file=sys.stderr)
    _strip(packages)
    return 1 if wrong and "--strict" in options else 0


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _unlisted(packages: Path, rule: dict[str, Any]) -> Iterator[str]:
    """Delete what a rule names; yield the paths that name nothing."""
    for path in rule["paths"]:
        found = sorted(packages.glob(path))
        if not found:
            yield path
        for each in found:
            if not any(fnmatch.fnmatch(each.name, kept) for kept in rule.get("keep", ())):
                _remove(each)


def _delete_kinds(packages: Path, *, folders: list[str], suffixes: list[str]) -> None:
    for path in sorted(packages.rglob("*"), reverse=True):
        if (path.is_dir() and path.name in folders) or path.suffix in suffixes:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _strip(packages: Path) -> None:
    strip = shutil.which("strip")
    if strip is None:
        raise SystemExit("strip is not installed: it is part of binutils")
    for path in sorted(packages.rglob("*.so*")):
        whole = path.read_bytes()
        if not whole.startswith(b"\x7fELF"):
            continue
        lighter = path.with_name(f"{path.name}.stripped")
        subprocess.run([strip, "--strip-unneeded", "-o", lighter, path], check=True)
        if _loads(lighter.read_bytes()):
            shutil.copymode(path, lighter)
            # In its place, never into it: an installer's cache may share the file by a hard link.
            lighter.replace(path)
        else:
            lighter.unlink()


def _loads(library: bytes) -> bool:
    """Return whether the dynamic loader takes a 64-bit library: each segment is where its page is.

    `strip` moves segments that another tool appended to a library, as wheels with bundled
    libraries are made.
    """
    (start,) = struct.unpack_from("<Q", library, 32)
    size, count = struct.unpack_from("<HH", library, 54)
    for place in range(start, start + size * count, size):
        kind, _, offset, address, _, _, _, page = struct.unpack_from("<IIQQQQQQ", library, place)
        if kind == _LOADED and (offset - address) % page:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
