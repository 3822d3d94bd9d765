"""Processes of commands that are killed, refused, interrupted, crossed; clocks; what they touch.

A command runs in a process of its own, with its actor's clock. `Fault` says what happens to it at
its n-th effect; `meanwhile` says what somebody else does while it starts a server or looks. When a
share of the traffic rises or the alias moves, the oracle is asked whether that may be.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time as real_time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from registry_emulator import RegistryEmulator
from release_oracle import Oracle
from target_emulator import EACH, Service, TargetEmulator

from penstock import model, tracking
from penstock.common import progress
from penstock.errors import PenstockError
from penstock.records.rollout import Order, Rollout
from penstock.registry import versions
from penstock.rollout import release, smoke
from penstock.rollout.target import history
from penstock.serving import parity_check

NAME = "adult"
WRITES = ("create_", "set_", "delete_", "log_", "finalize_")

What = Literal["killed before", "killed after", "interrupted", "refused", "unanswered", "cut off"]


class Killed(BaseException):
    """The process is gone; nothing that it would do after this happens."""


@dataclass(frozen=True)
class Fault:
    """What happens at the n-th effect of a command, counted from 0.

    `refused`: it fails and has not happened. `unanswered`: it fails and has happened. `cut off`:
    from there on the registry does not answer.
    """

    what: What
    at: int


@dataclass
class RunningCommand:
    """One command under way."""

    command: str
    version: int | None
    clock: timedelta
    fault: Fault | None
    meanwhile: dict[int, Callable[[], None]]
    named: bool = False
    home: int = 0
    leftover: set[int] = field(default_factory=set)
    promised: bool = False
    over: bool = False
    hit: bool = False
    effects: int = 0
    waits: int = 0


@dataclass(frozen=True)
class Result:
    """How a command ended: with a value, an error, or the end of its process."""

    value: Any = None
    error: BaseException | None = None
    disturbed: bool = False
    promised: bool = False

    @property
    def outcome(self) -> str:
        if isinstance(self.value, Rollout):
            return self.value.outcome or "under way"
        return type(self.error).__name__ if self.error else "done"


class Simulation:
    """One registry, several homes, and whoever runs a command on them.

    Args:
        folder: For homes, models and artifacts; best on a file system in memory.
        store: An MLflow client; None: a registry in memory.
        clocks: What each actor's clock is off by. The first is the actors' of home 0, and so on.
    """

    def __init__(self, folder: Path, *, store: Any = None, clocks: tuple[float, ...] = (0, 0)):
        self.folder = folder
        self.oracle = Oracle()
        self.registry = store or RegistryEmulator(folder)
        self.uri = self.registry.tracking_uri
        self.clocks = clocks
        self.time = datetime(2026, 12, 1, 12, tzinfo=UTC)
        self.processes: list[RunningCommand] = []
        self.orders: dict[int, Order] = {}
        self.originals: dict[tuple[int, str], Any] = {}
        self.runs = itertools.count(1)
        self.homes = [Service(folder / f"home{h}", NAME, self._errors) for h in range(len(clocks))]
        self.shares: dict[str, dict[int, int]] = {}
        self.crowned_at: int | None = None

    # -- what the emulators ask
    @property
    def process(self) -> RunningCommand:
        return self.processes[-1]

    def alive(self, process: object) -> bool:
        return isinstance(process, RunningCommand) and not process.over

    def effect(
        self,
        name: str,
        act: Callable[[], Any],
        *,
        error: Callable[[], Exception],
        torn: Callable[[], None] = lambda: None,
    ) -> Any:
        process = self.process
        if process.over:
            raise Killed
        fault, number = process.fault, process.effects
        process.effects += 1
        if fault is None or fault.at != number or fault.what == "cut off":
            return act()
        process.hit = True
        if fault.what == "killed before":
            process.over = True
            torn()
            raise Killed
        if fault.what == "interrupted":
            raise KeyboardInterrupt
        if fault.what == "refused":
            raise error()
        act()
        if fault.what == "killed after":
            process.over = True
            raise Killed
        raise error()

    def while_it_lasts(self, name: str) -> None:
        process = self.process
        act = process.meanwhile.get(process.waits)
        process.waits += 1
        self.time += timedelta(seconds=1)
        if act is not None and not process.over:
            process.hit = True
            act()

    def served(self, service: Service, shares: dict[int, int]) -> None:
        before, self.shares[str(service.folder)] = self.shares.get(str(service.folder), {}), shares
        for arm in service.state.arms():
            share, had = shares.get(arm.version, 0), before.get(arm.version, 0)
            if share <= had:
                continue
            if had == 0 and model.digest_of(arm.folder) != self.oracle.versions[arm.version].files:
                self._wrong(f"version {arm.version} serves with other files than were registered")
            # What a candidate loses goes back to what serves beside it, or served before it.
            back = had > 0 or arm.version == service.steady
            if not back or arm.version == self.process.version:
                self._judge(arm.version, f"gets {share} % of the requests")

    def _judge(self, version: int, what: str) -> None:
        why = self._objection(version)
        if why:
            self._wrong(f"version {version} {what} in a {self.process.command}, though {why}")

    def _objection(self, version: int) -> str:
        """Why the process may not bring a version to users or crown it; empty: it may."""
        oracle, process = self.oracle, self.process
        named, mending = process.named, process.command == "audit"
        if process.command == "rollback" and self._has_an_intact_copy(version):
            # What the registry's copy has become is no matter where it serves from another.
            unaltered = replace(oracle.versions[version], altered=set())
            oracle = replace(oracle, versions={**oracle.versions, version: unaltered})
        new = oracle.objection(version, self.time, mending=mending)
        if process.command == "release" and version == process.version:
            return new
        again = oracle.objection_to_return(version, named=named)
        if again and process.command != "rollback" and version in process.leftover:
            return f"{again}, and {new}" if new else ""
        return again

    def _has_an_intact_copy(self, version: int) -> bool:
        truth = self.oracle.versions[version]
        copies = self.homes[self.process.home].models.glob(f"{version}-*")
        only_files = truth.altered == {"files"}
        return only_files and any(model.digest_of(copy) == truth.files for copy in copies)

    def crown(self, version: int) -> None:
        """The alias names it now."""
        oracle, process = self.oracle, self.process
        self._judge(version, "becomes the champion")
        taken = oracle.champion not in (None, version, process.version)
        if taken and process.command == "release" and version != process.version:
            self._wrong(
                f"a release of version {process.version} takes the crown from version "
                f"{oracle.champion}, which was promoted, and gives it to version {version}"
            )
        oracle.crowned(version, let_in=process.command != "audit")
        self.crowned_at = process.home

    def _wrong(self, what: str) -> None:
        self.oracle.wrong.append(what)

    def _errors(self, version: int) -> int:
        return 0 if self.oracle.versions[version].good else EACH // 10

    # -- what the code under test is given in place of the world
    def client(self, uri: str = "") -> Client:
        return Client(self)

    def now(self, zone: tzinfo | None = None) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time + (self.processes[-1].clock if self.processes else timedelta())

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        self.time += timedelta(milliseconds=1)
        return self.time.timestamp()

    def place(self, home: int) -> TargetEmulator:
        return TargetEmulator(self.homes[home], self)

    # -- commands
    def run(
        self,
        command: str,
        act: Callable[[], Any],
        *,
        home: int = 0,
        version: int | None = None,
        fault: Fault | None = None,
        meanwhile: dict[int, Callable[[], None]] | None = None,
        named: bool = False,
    ) -> Result:
        clock = timedelta(hours=self.clocks[home])
        state = self.homes[home].state
        begun = {journal.rollout.candidate for journal in self.unfinished(home)}
        leftover = begun.union(arm.version for arm in (state.stable, state.candidate) if arm)
        if version is not None:
            leftover.add(version)
        process = RunningCommand(
            command, version, clock, fault, meanwhile or {}, named, home, leftover
        )
        self.processes.append(process)
        if len(self.processes) == 1:
            self.time += timedelta(minutes=1)
        try:
            return Result(act(), disturbed=process.hit, promised=process.promised)
        except (PenstockError, Killed, KeyboardInterrupt) as error:
            return Result(error=error, disturbed=process.hit)
        except OSError as error:
            if not process.hit:
                raise
            return Result(error=error, disturbed=True)
        finally:
            process.over = True
            self.processes.pop()
            if command in ("release", "rollback", "resume", "abort"):
                # What a command left amid a move is put right by the next that takes the lease.
                self.homes[home].rough |= process.hit

    def unfinished(self, home: int) -> list[Any]:
        """The rollouts of a home that have not ended."""
        found = history(TargetEmulator(self.homes[home], self))
        return [journal for journal in found if journal.rollout.outcome is None]


class Client:
    """MLflow's client, each of whose calls may be refused or the last of its process."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._simulation.registry, name)
        return self._call(name, found) if callable(found) else found

    def _call(self, name: str, found: Callable[..., Any]) -> Callable[..., Any]:
        from mlflow.exceptions import MlflowException

        simulation = self._simulation

        def call(*given: Any, **named: Any) -> Any:
            process = simulation.process
            fault = process.fault
            if fault and fault.what == "cut off" and process.effects >= fault.at:
                process.hit = True
                raise MlflowException("the server does not answer")
            if not name.startswith(WRITES):
                return found(*given, **named)

            def act() -> Any:
                value = found(*given, **named)
                if name == "set_registered_model_alias" and given[1] == versions.CHAMPION:
                    simulation.crown(int(given[2]))
                return value

            return simulation.effect(name, act, error=lambda: MlflowException(f"{name} failed"))

        return call


@contextlib.contextmanager
def put_in_place(simulation: Simulation) -> Iterator[None]:
    """Let the code under test see its registry, its clocks and the answers of its servers."""
    import mlflow.artifacts

    class Metaclass(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Clock(datetime, metaclass=Metaclass):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return simulation.now(tz)

    def download(*, artifact_uri: str, dst_path: str, **_: Any) -> str:
        return str(simulation.registry.download_version(artifact_uri, dst_path))

    with contextlib.ExitStack() as stack:

        def put(where: Any, name: str, what: Any) -> None:
            stack.enter_context(mock.patch.object(where, name, what))

        put(tracking, "client", simulation.client)
        put(real_time, "sleep", simulation.sleep)
        put(real_time, "monotonic", simulation.monotonic)
        put(progress, "say", lambda _: None)
        put(release, "render", lambda _: "")
        put(smoke, "scorer_of", lambda _: None)
        put(smoke, "check", lambda *_, **__: 1)
        put(parity_check, "sample_rows", lambda *_, **__: None)
        if isinstance(simulation.registry, RegistryEmulator):
            put(mlflow.artifacts, "download_artifacts", download)
        for name, module in list(sys.modules.items()):
            if (
                name.startswith("penstock.")
                and not name.startswith("penstock.records")
                and getattr(module, "datetime", None) is datetime
            ):
                put(module, "datetime", Clock)
        yield
