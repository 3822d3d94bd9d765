"""A trigger whose releases are small real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from running_process import until

from penstock.notification import NotifySpec
from penstock.triggers.events import Event
from penstock.triggers.releases import Command, Releases
from penstock.triggers.store import TriggerStore
from penstock.triggers.trigger import Trigger, TriggerFolder

HERE = Path(__file__).parent


@dataclass
class Shop:
    """One trigger, in a folder."""

    home: Path
    resumable: bool = False
    module: str = "fake_release"
    notify: NotifySpec = field(default_factory=lambda: NotifySpec(file="notified.jsonl"))
    folder: TriggerFolder = field(init=False)
    trigger: Trigger = field(init=False)

    def __post_init__(self) -> None:
        self.folder = TriggerFolder(self.home, "shop")
        self.start()

    def start(self) -> None:
        """Begin as a new process of the trigger does: what is known is on disk."""
        store = TriggerStore(self.folder.store)
        releases = Releases(
            store=store, folder=self.folder.releases, command=self.command, quiet=1, wait=3
        )
        self.trigger = Trigger(
            service="shop",
            folder=self.folder,
            store=store,
            releases=releases,
            places=(),
            notify=self.notify,
            beside=self.home,
        )

    def command(self, number: int, summary: Path) -> Command:
        return Command(
            self.module, [str(self.home), str(number), str(summary)], resumable=self.resumable
        )

    @property
    def store(self) -> TriggerStore:
        return self.trigger.store

    @property
    def begun(self) -> list[str]:
        """The numbers that releases began with, in their order."""
        path = self.home / "begun"
        return path.read_text().split() if path.exists() else []

    @property
    def notified(self) -> str:
        path = self.home / "notified.jsonl"
        return path.read_text() if path.exists() else ""

    def send(self, *ids: object) -> None:
        """Write events down that came in long ago."""
        events = [Event(source="/shop", id=str(each), type="sold") for each in ids]
        self.store.take(events, now=time.time() - 100)

    def step_until(self, holds: Callable[[], object]) -> None:
        until(lambda: self.trigger.step() is not None and holds(), seconds=30)

    def settle(self) -> None:
        """Step until nothing waits and nothing goes on."""
        self.step_until(
            lambda: self.store.open_release() is None and not self.store.waiting().count
        )


def with_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let children find `fake_release`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
