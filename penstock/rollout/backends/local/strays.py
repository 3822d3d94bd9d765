"""Processes that serve from a service's folder although its state does not name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from penstock.processes.identity import ProcessRef, is_alive, ref_of

MODULES = (
    "penstock.serving",
    "penstock.rollout.proxy",
    # Of a release before: its processes may still run.
    "penstock.rollout.routers.splitter",
)
"""What the processes of a service run: one of these, or a module below it."""


def strays(folder: Path, *, known: Sequence[ProcessRef]) -> Iterator[ProcessRef]:
    """Yield Penstock processes that serve from `folder` and that `known` does not list.

    There is one if the process that started it was killed before it could write it down. Those of
    another container are left alone, though its folder has the same path.
    """
    import psutil

    for found in psutil.process_iter(["pid", "cmdline"]):
        if not serves_from(folder, found.info["cmdline"] or []):
            continue
        ref = ref_of(found.pid)
        if ref is not None and ref not in known and is_alive(ref):
            yield ref


def recognised(ref: ProcessRef, folder: Path) -> ProcessRef:
    """Return a process of `folder` as this release knows it, where an earlier one wrote it down.

    That one knew it by the time of its start, which moves when the clock is set.
    """
    if ref.boot or ref.ticks is not None:
        return ref
    found = ref_of(ref.pid)
    if found and (is_alive(ref) or serves_from(folder, _command(ref.pid))):
        return found
    return ref


def serves_from(folder: Path, command: Sequence[str]) -> bool:
    """Return whether a command line is that of a Penstock process that serves from `folder`."""
    ours = any(_is_part(word, module) for word in command[:5] for module in MODULES)
    return ours and any(_is_below(word, folder) for word in command[5:])


def _command(pid: int) -> list[str]:
    import psutil

    try:
        return list(psutil.Process(pid).cmdline())
    except psutil.Error:
        return []


def _is_part(word: str, module: str) -> bool:
    return word == module or word.startswith(f"{module}.")


def _is_below(word: str, folder: Path) -> bool:
    return word == str(folder) or word.startswith(f"{folder}/")
