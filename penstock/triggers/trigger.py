"""A trigger at work: it looks at what is watched, starts releases, and says what happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.common import files
from penstock.common.disk import writing
from penstock.errors import PenstockError
from penstock.notification import Message, NotifySpec, deliver
from penstock.records.run_end import PLACES, Place
from penstock.triggers import notices
from penstock.triggers.dropped import WatchedPlace
from penstock.triggers.events import Event
from penstock.triggers.exporter import exposition
from penstock.triggers.releases import Releases
from penstock.triggers.store import Release, Taken, TriggerStore

_LOGS = 100
"""Releases whose logs are kept."""


class TriggerFolder:
    """`<home>/trigger/<service>`: the store, the lock, logs of releases, the figures.

    Args:
        home: The project's home.
        service: The project; several may have one home.
    """

    def __init__(self, home: Path, service: str) -> None:
        self.path = home / "trigger" / service
        self.store = self.path / "trigger.db"
        self.lock = self.path / "lock"
        self.releases = self.path / "releases"
        self.metrics = self.path / "metrics.prom"


@dataclass
class Trigger:
    """Starts the releases of one project.

    Attributes:
        service: The project.
        folder: Where it keeps what it remembers.
        store: What it remembers.
        releases: The releases.
        places: What is watched.
        notify: Who is notified.
        beside: What the path of a file in `notify` is relative to.
    """

    service: str
    folder: TriggerFolder
    store: TriggerStore
    releases: Releases
    places: Sequence[WatchedPlace]
    notify: NotifySpec
    beside: Path
    _refused: int = field(default=0, init=False)
    _counting: threading.Lock = field(default_factory=threading.Lock, init=False)

    def take(self, events: Sequence[Event]) -> Taken:
        """Write events down that came in.

        Raises:
            ServiceError: If they cannot be written, or too many wait.
        """
        return self.store.take(events, now=time.time())

    def refused(self, number: int) -> None:
        """Count events that were turned away; the next step writes it down, however many come."""
        with self._counting:
            self._refused += number

    def figures(self) -> str:
        """Return the figures for Prometheus.

        Raises:
            ServiceError: If they cannot be read.
        """
        return exposition(self.store, service=self.service)

    def look(self) -> list[str]:
        """Look once at all that is watched; return what is to be said.

        Raises:
            PenstockError: If one cannot be read, or what was dropped not be written down. The
                others are looked at all the same.
        """
        said, problems = [], []
        for place in self.places:
            try:
                taken = place.look(now=time.time())
            except PenstockError as error:
                problems.append(error)
                continue
            if taken.new:
                files_ = "1 file was" if taken.new == 1 else f"{taken.new:,} files were"
                said.append(f"{files_} dropped in {place.name}.")
        if problems:
            raise problems[0]
        return said

    def step(self) -> list[str]:
        """Do what is to be done now; return what is to be said.

        Raises:
            ServiceError: If something cannot be written, or no process be started.
        """
        said = []
        self._count_refused()
        for release in self.store.to_notify():
            said += self._end(release)
        begun = self.releases.step(now=time.time())
        if begun is not None:
            self.releases.prune(begun.number - _LOGS)
            log = self.releases.log(begun.number)
            said.append(f"Release {begun.number} begins, for {notices.cause(begun)}. Log: {log}")
        # After the message on the refusal that stopped it.
        if self._stopped_newly() and not self.store.to_notify():
            message = notices.stopped(self.store, service=self.service, now=time.time())
            said += [message.text, *self._deliver(message)]
            self.store.note_stop()
        self._publish()
        return said

    def _count_refused(self) -> None:
        number = self._refused
        if not number:
            return
        self.store.refused(number)
        with self._counting:
            self._refused -= number

    def _stopped_newly(self) -> bool:
        return self.releases.stopped and not self.store.stop_notified

    def _end(self, release: Release) -> list[str]:
        message = notices.ended(release, service=self.service, identity=self.store.identity)
        # A run on a cluster has notified the others itself.
        places: tuple[Place, ...] = ("file",) if release.posted else PLACES
        problems = self._deliver(message, places=places)
        self.store.notified(release.number)
        return [f"Release {release.number}: {message.text}", *problems]

    def _deliver(self, message: Message, *, places: Collection[Place] = PLACES) -> list[str]:
        return [
            f"{problem} Lost: {message.event} of {message.time:%Y-%m-%d %H:%M}."
            for problem in deliver(message, to=self.notify, folder=self.beside, places=places)
        ]

    def _publish(self) -> None:
        """Write the figures, if they changed."""
        text = self.figures()
        if not self.folder.metrics.is_file() or self.folder.metrics.read_text("utf-8") != text:
            with writing(self.folder.metrics):
                files.write_text(self.folder.metrics, text)
