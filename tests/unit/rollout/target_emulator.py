"""A service in memory that outlives its controllers, for sequences of commands by the thousand.

It keeps the contract of `penstock.rollout.router` and `place`: what should be is written down
before it is done, a lease with a term guards every action, whoever takes over mends first. Servers
answer at once and as their version's quality says, so that the real analysis passes or fails a
candidate in a few looks. The real router's processes are in test_local_backend.py.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from penstock import model
from penstock.common import files
from penstock.errors import InputError, LeaseLostError, PenstockError, ServiceError
from penstock.records.rollout import ArmSummary, Pairs
from penstock.rollout.router import (
    Address,
    Health,
    Meanwhile,
    Observation,
    Release,
    Routing,
    ServiceStatus,
    VersionStatus,
    nothing,
)
from penstock.rollout.store import FolderStore, Store

if TYPE_CHECKING:
    from penstock.rollout.router import Router
    from penstock.rollout.target import Target

EACH = 4000
"""Requests that each version with traffic answers between two looks."""

URL = "http://127.0.0.1:1"


class Runtime(Protocol):
    """The process that an action runs in, and where it may be killed, refused or interrupted."""

    @property
    def process(self) -> object: ...

    def alive(self, process: object) -> bool: ...

    def effect(
        self,
        name: str,
        act: Callable[[], Any],
        *,
        error: Callable[[], Exception],
        torn: Callable[[], None] = lambda: None,
    ) -> Any:
        """Do something that lasts; `torn` is what a kill in the middle of it leaves."""
        ...

    def while_it_lasts(self, name: str) -> None:
        """Something takes seconds: others may act meanwhile."""
        ...

    def served(self, service: Service, share: dict[int, int]) -> None:
        """Somebody wrote down that these versions get these shares of new requests."""
        ...


@dataclass(frozen=True)
class State:
    """What should be, as `state.json` has it."""

    stable: Release | None = None
    candidate: Release | None = None
    retired: Release | None = None
    previous: Release | None = None
    weight: int = 0
    mirror: float = 0.0

    def arms(self) -> list[Release]:
        return [arm for arm in (self.stable, self.candidate, self.retired) if arm]

    def shares(self) -> dict[int, int]:
        """New requests by version, in percent."""
        found = {}
        if self.stable:
            found[self.stable.version] = 100 - self.weight
        if self.candidate:
            found[self.candidate.version] = self.weight
        return {version: share for version, share in found.items() if share}


@dataclass
class Service:
    """What lasts of a service: its state, its proxy's table, its lease, its counters."""

    folder: Path
    name: str
    errors: Callable[[int], int]
    state: State = field(default_factory=State)
    table: dict[int, int] = field(default_factory=dict)
    holder: object = None
    expired: bool = False
    steady: int | None = None
    rough: bool = False
    lost: dict[int, str] = field(default_factory=dict)
    answered: dict[int, ArmSummary] = field(default_factory=dict)
    pairs: Pairs = field(default_factory=Pairs)

    @property
    def models(self) -> Path:
        return self.folder / "models"

    def die(self, version: int) -> None:
        """The candidate's server dies and does not start again."""
        if self.state.candidate and self.state.candidate.version == version:
            self.state = replace(self.state, candidate=None, weight=0, mirror=0.0)
            self.table = self.state.shares()
            self.lost[version] = "Killed by signal 9."


class RouterEmulator:
    """See `penstock.rollout.router.Router`."""

    def __init__(self, service: Service, runtime: Runtime) -> None:
        self._service, self._runtime = service, runtime

    @property
    def url(self) -> str:
        return URL

    @property
    def _state(self) -> State:
        return self._service.state

    @property
    def weight(self) -> int:
        return self._state.weight

    @property
    def stable(self) -> int | None:
        return self._state.stable.version if self._state.stable else None

    @property
    def stable_model(self) -> str:
        return self._state.stable.model if self._state.stable else ""

    @property
    def candidate(self) -> int | None:
        return self._state.candidate.version if self._state.candidate else None

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        service, mine = self._service, self._runtime.process

        def acquire() -> None:
            if service.holder and self._runtime.alive(service.holder) and not service.expired:
                raise ServiceError("another process drives it", where=f"service {service.name}")
            service.holder, service.expired = mine, False

        def release() -> None:
            if service.holder is mine:
                service.holder = None

        self._effect("lease taken", acquire, guarded=False)
        try:
            self._apply()
            service.rough = False
            yield
        finally:
            self._effect("lease given back", release, guarded=False)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        self._check()
        yield

    def open(self) -> None:
        self._apply()

    def deploy(self, release: Release, *, timeout: float) -> Address:
        self._check()
        for arm in (self._state.stable, self._state.candidate):
            if arm and replace(arm, folder=release.folder) == release:
                return Address(URL)
        if self.stable == release.version:
            raise InputError(f"version {release.version} is the stable one, from other files")
        self._remove_candidate()
        self._remove_retired()
        self._effect("server started", lambda: _start(release))
        self._runtime.while_it_lasts("server starts")
        self._service.lost.pop(release.version, None)
        self._service.answered.pop(release.version, None)
        self._save(candidate=release, weight=0, mirror=0.0)
        self._apply()
        return Address(URL)

    def route(self, routing: Routing, *, meanwhile: Meanwhile = nothing) -> None:
        self._save(mirror=routing.mirror)
        self._apply()

    def set_weight(self, version: int, percent: int, *, meanwhile: Meanwhile = nothing) -> None:
        self._require_candidate(version)
        self._save(weight=percent)
        self._apply()

    def observe(self) -> Observation:
        self._check()
        self._runtime.while_it_lasts("look")
        self._check()
        service = self._service
        for version in service.table:
            new = _answers(EACH, errors=service.errors(version))
            service.answered[version] = service.answered.get(version, ArmSummary()).plus(new)
        candidate, stable = self.candidate, self.stable
        if self._state.mirror and candidate and stable:
            errors = service.errors(candidate)
            pairs = Pairs(
                stable=_answers(EACH),
                candidate=_answers(EACH, errors=errors),
                rows=EACH - errors,
                agreeing=EACH - errors,
            )
            service.pairs = service.pairs.plus(pairs)
        return Observation(epoch="a", arms=dict(service.answered), pairs=service.pairs)

    def health(self, version: int) -> Health:
        self._check()
        reason = self._service.lost.get(version, "")
        up = any(arm.version == version for arm in self._state.arms())
        return Health(ready=up, restarts=int(bool(reason)), memory=None, reason=reason)

    def log(self, version: int) -> str:
        return ""

    def replay(self, bodies: Sequence[bytes], *, rate: float) -> AbstractContextManager[None]:
        return nullcontext()

    def mend(self) -> None:
        self._apply()

    def promote(self, version: int, *, insist: bool = True, meanwhile: Meanwhile = nothing) -> None:
        state = self._state
        if state.candidate is None and self.stable == version:
            self._apply()
            return
        candidate = self._require_candidate(version)
        self._save(stable=candidate, candidate=None, retired=state.stable, weight=0, mirror=0.0)
        self._apply()

    def rollback(self, version: int) -> None:
        self._check()
        state = self._state
        if self.candidate is None and self.stable == version:
            before = state.retired or state.previous
            if before is not None and state.retired is None:
                self._effect("server started", lambda: _start(before))
            self._save(
                stable=before,
                candidate=state.stable,
                retired=None,
                previous=None,
                weight=0,
                mirror=0.0,
            )
        else:
            self._save(weight=0, mirror=0.0)
        self._apply()

    def clean_up(self) -> None:
        if self._state.weight == 0:
            self._remove_candidate()
        self._remove_retired()
        self._check()
        used = {arm.folder for arm in (*self._state.arms(), self._state.previous) if arm}
        for folder in self._service.models.iterdir() if self._service.models.exists() else ():
            if folder not in used:
                shutil.rmtree(folder)

    def _remove_candidate(self) -> None:
        if self._state.candidate:
            self._save(weight=0, mirror=0.0)
            self._apply()
            self._runtime.while_it_lasts("drain")
            self._save(candidate=None)

    def _remove_retired(self) -> None:
        if self._state.retired:
            self._runtime.while_it_lasts("drain")
            self._save(retired=None, previous=self._state.retired)

    def _require_candidate(self, version: int) -> Release:
        self._check()
        candidate = self._state.candidate
        if candidate is not None and candidate.version == version:
            return candidate
        if version in self._service.lost:
            raise ServiceError(f"version {version} died: {self._service.lost[version]}")
        raise InputError(f"version {version} is not the candidate")

    def _save(self, **changes: Any) -> None:
        """Write down what should be. It begins to be so now, whoever does it."""

        def write() -> None:
            self._service.state = replace(self._service.state, **changes)
            self._runtime.served(self._service, self._service.state.shares())

        self._effect("state written", write)

    def _apply(self) -> None:
        """Make the proxy do what is written down, if it does not."""

        def write() -> None:
            self._service.table = self._service.state.shares()

        if self._service.table != self._service.state.shares():
            self._effect("table set", write)
        else:
            self._check()

    def _effect(self, name: str, act: Callable[[], None], *, guarded: bool = True) -> None:
        def guard() -> None:
            if guarded:
                self._check()
            act()

        self._runtime.effect(name, guard, error=lambda: ServiceError(f"refused: {name}"))

    def _check(self) -> None:
        if self._service.holder is not self._runtime.process:
            raise LeaseLostError("another process drives it", where=f"service {self._service.name}")


class StoreEmulator(FolderStore):
    """A rollout's folder, whose writes may be refused or cut short."""

    def __init__(
        self, folder: Path, runtime: Runtime, guard: Callable[[], AbstractContextManager[None]]
    ) -> None:
        super().__init__(folder, guard=guard)
        self._below, self._runtime = folder, runtime

    def append(self, line: bytes, *, evidence: bool = False) -> None:
        def torn() -> None:
            path = self._below / "journal.jsonl"
            if path.exists():
                with path.open("ab") as stream:
                    stream.write(line[: len(line) // 2])

        act = functools.partial(super().append, line, evidence=evidence)
        self._effect("journal line", act, torn=torn)

    def rewrite(self, lines: list[bytes]) -> None:
        self._effect("journal rewritten", functools.partial(super().rewrite, lines))

    def clear(self) -> None:
        self._effect("journal cleared", super().clear)

    def forget(self) -> None:
        self._effect("journal deleted", functools.partial(shutil.rmtree, self._below))

    def leave(self, name: str, text: str) -> None:
        self._effect(f"{name} noted", functools.partial(super().leave, name, text))

    def _effect(
        self, name: str, act: Callable[[], None], *, torn: Callable[[], None] = lambda: None
    ) -> None:
        def error() -> Exception:
            return ServiceError("it cannot be written: No space left on device", where=name)

        self._runtime.effect(name, act, error=error, torn=torn)


class TargetEmulator:
    """See `penstock.rollout.target.Target`."""

    kind = "local"

    def __init__(self, service: Service, runtime: Runtime) -> None:
        self._service, self._runtime = service, runtime
        self._router = RouterEmulator(service, runtime)

    @property
    def service(self) -> str:
        return self._service.name

    @property
    def router(self) -> Router:
        return self._router

    @property
    def models(self) -> Path:
        return self._service.models

    def store(self, identity: str) -> Store:
        return StoreEmulator(self._rollouts / identity, self._runtime, self._router.guarded)

    def stores(self) -> list[Store]:
        return [self.store(found.name) for found in FolderStore.all_below(self._rollouts)]

    @property
    def _rollouts(self) -> Path:
        return self._service.folder / "rollouts"

    def forget_all_but(self, versions: Collection[int]) -> None:
        pass

    def driven(self) -> bool:
        holder = self._service.holder
        return holder is not None and self._runtime.alive(holder) and not self._service.expired

    def status(self) -> list[ServiceStatus]:
        state = self._service.state
        if not state.arms():
            return []
        well = Health(ready=True, restarts=0, memory=None, reason="")
        shares = state.shares()
        versions = tuple(
            VersionStatus(arm.version, "stable", shares.get(arm.version, 0), URL, well)
            for arm in state.arms()
        )
        stable = state.stable.version if state.stable else None
        return [ServiceStatus(self._service.name, URL, True, stable, shares, versions, "nowhere")]


def _start(release: Release) -> None:
    """A server refuses files that are not those it was told to serve."""
    try:
        found = model.digest_of(release.folder)
        exported = release.folder / "serving"
        export = files.digest_of_folder(exported) if exported.exists() else ""
    except PenstockError as error:
        raise ServiceError(f"it does not start: {error}") from error
    if (found, export) != (release.model, release.export):
        raise ServiceError(f"it does not start: its files are {found}, not {release.model}")


def _answers(requests: int, *, errors: int = 0) -> ArmSummary:
    """Latencies with a tail, so that a high quantile has something beyond it."""
    good = requests - errors
    return ArmSummary(
        requests=requests,
        server_errors=errors,
        latency={60: good - 200, 66: 120, 70: 40, 74: 30, 80: 10},
        scores={3 + place: good // 4 for place in range(4)},
        labels={"a": good},
    )


if TYPE_CHECKING:

    def _is_a_place(place: TargetEmulator) -> Target:
        return place

    def _is_a_router(router: RouterEmulator) -> Router:
        return router
