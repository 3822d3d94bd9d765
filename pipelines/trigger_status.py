"""What a trigger did, for people: `penstock trigger --status` and `--resume`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

from penstock.processes.identity import is_alive
from penstock.processes.lock import holder_of
from penstock.triggers import notices
from penstock.triggers.releases import REFUSALS
from penstock.triggers.store import Release, TriggerStore
from penstock.triggers.trigger import TriggerFolder

_SHOWN = 10
"""Releases that are shown."""


def status(folder: TriggerFolder, *, service: str) -> int:
    """Print what a trigger is doing, what waits, and how its releases ended."""
    if not folder.store.is_file():
        print(f"No trigger of {service} has been started yet.")
        return 0
    holder = holder_of(folder.lock)
    print(f"{service}: {f'{holder} is its trigger.' if holder else 'no trigger is running.'}")
    with contextlib.closing(TriggerStore(folder.store)) as store:
        for line in _lines(store):
            print(line)
    return 0


def resume(folder: TriggerFolder, *, service: str) -> int:
    """Let releases start again after a row of refusals."""
    if not folder.store.is_file():
        print(f"No trigger of {service} has been started yet.")
        return 0
    with contextlib.closing(TriggerStore(folder.store)) as store:
        was = store.refusals() >= REFUSALS
        store.resume()
        waiting = store.waiting().count
    print(
        f"Releases of {service} start again; {_events(waiting)}."
        if was
        else f"Releases of {service} had not been stopped; refusals are counted anew."
    )
    return 0


def _lines(store: TriggerStore) -> Iterator[str]:
    waiting = store.waiting()
    if waiting.count:
        times = f"the first since {_time(waiting.first)}, the last since {_time(waiting.last)}"
        yield f"{_events(waiting.count)}, {times}."
    else:
        yield "No event waits."
    if store.refusals() >= REFUSALS:
        yield f"Stopped: {notices.stop_reason(store)}"
    totals = store.database.totals()
    known = totals.get("known", 0)
    yield f"Events written down: {totals.get('taken', 0):,}; known already: {known:,}."
    for place, count in store.database.rows(
        "SELECT place, (SELECT count(*) FROM files WHERE files.place = places.place) FROM places"
    ):
        yield f"Watched: {place}, {count:,} files have counted or were there before."
    for release in store.recent(most=_SHOWN):
        yield _release(release)


def _release(release: Release) -> str:
    cause = notices.cause(release)
    begun = f"Release {release.number}  {_time(release.begun)}"
    if release.ended is None:
        at_work = release.process is not None and is_alive(release.process)
        who = f"process {release.process.pid}" if at_work and release.process else "not running"
        return f"{begun}  goes on ({who}), for {cause}"
    code = "" if release.exit_code is None else f", exit code {release.exit_code}"
    return f"{begun}  {release.outcome}{code}, for {cause}. {release.reason}"


def _events(count: int) -> str:
    return "1 event waits" if count == 1 else f"{count:,} events wait"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"
