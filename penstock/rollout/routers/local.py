"""The router of this machine: server processes on loopback behind one front process."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock.errors import InputError, PenstockError
from penstock.rollout.router import ArmCounts, Release
from penstock.rollout.routers import process
from penstock.rollout.routers.front import arms_of, set_arms, start_front
from penstock.rollout.routers.process import LOOPBACK, hold_port
from penstock.rollout.routers.state import LocalState, ServerArm, ServiceFolder

_log = logging.getLogger(__name__)

_REVIVE_TIMEOUT = 120.0


class LocalRouter:
    """One service on this machine; see `penstock.rollout.router.Router` for the actions.

    Every action needs `exclusive()` to be held, so that two deployers never drive one service.

    Args:
        home: Folder below which state, logs and models are kept, in `serving/<service>`.
        service: Name of the service, which is the model's name in requests.
        port: Public port on loopback; 0 takes a free one, or the one that it already has.
        drain: Seconds that a version which is removed may take to answer what it accepted.

    Raises:
        InputError: If `service` cannot be the name of a folder and part of an address.
    """

    def __init__(self, home: Path, *, service: str, port: int = 8080, drain: float = 30.0) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", service):
            raise InputError(
                f"{service!r} cannot be the name of a service",
                remedy="Use letters, digits, dashes, dots and underscores, 63 at most.",
            )
        self._folder = ServiceFolder(home, service)
        self._port = port
        self._drain = drain
        self._state = LocalState(service=service, port=port)

    @property
    def models(self) -> Path:
        """The folder for models to be served, one folder each; unused ones are removed."""
        return self._folder.models

    @property
    def url(self) -> str:
        """Where users reach the service."""
        return f"http://{LOOPBACK}:{self._state.port}"

    @property
    def stable(self) -> int | None:
        """The version that the service falls back to."""
        return self._state.stable.version if self._state.stable else None

    @property
    def replaced(self) -> int | None:
        """The version that the stable one took over from."""
        return self._state.replaced

    def serves(self, release: Release) -> bool:
        """Return whether `release` is the stable version and runs."""
        arm = self._state.stable
        return arm is not None and _is(arm, release)

    def log_of(self, version: int) -> Path:
        """Return the log of a version's server."""
        return self._folder.log(f"version-{version}")

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the service, and first mend it: restart what died, end what was left behind.

        Raises:
            ServiceError: If another process holds the service, or its port was taken meanwhile.
            InputError: If the service answers on another port than the one asked for.
        """
        with self._folder.locked():
            self._recover()
            yield

    def deploy(self, release: Release, *, timeout: float) -> str:
        """Bring `release` up without traffic and return its own address."""
        for arm in (self._state.stable, self._state.candidate):
            if arm and _is(arm, release):
                return arm.url
        self._remove_candidate()
        self._remove_retired()
        try:
            # The front first: a port that is taken is found out in no time.
            self._ensure_front()
            arm = self._start_server(release, timeout=timeout)
            self._save(candidate=arm, weight=0)
            self._apply()
        except BaseException:
            self.clean_up()
            raise
        return arm.url

    def set_weight(self, version: int, percent: int) -> None:
        """Give the candidate `percent` of new requests."""
        if not 0 <= percent <= 100:
            raise InputError(f"a weight of {percent} %", remedy="Give 0 to 100.")
        self._require_candidate(version)
        self._save(weight=percent)
        self._apply()

    def observe(self) -> Mapping[int, ArmCounts]:
        """Return what each version has done since the front was started."""
        arms = arms_of(self._folder, self._state.front) if self._state.front else []
        counts = [{key: arm[key] for key in arm if key != "url"} for arm in arms]
        return {fields["version"]: ArmCounts(**fields) for fields in counts}

    def promote(self, version: int) -> None:
        """Give the candidate all traffic and make it the stable version."""
        state = self._state
        if state.candidate is None and self.stable == version:
            return
        candidate = self._require_candidate(version)
        self._save(
            stable=candidate,
            candidate=None,
            retired=state.stable,
            weight=0,
            replaced=state.stable.version if state.stable else None,
        )
        self._apply()

    def rollback(self, version: int) -> None:
        """Take all traffic from `version` and give it back to the one before."""
        state = self._state
        if state.candidate is None and self.stable == version:
            self._save(stable=state.retired, candidate=state.stable, retired=None, replaced=None)
        self._save(weight=0)
        self._apply()

    def clean_up(self) -> None:
        """Stop every version without traffic, and the front too where nothing is left to serve."""
        if self._state.weight == 0:
            self._remove_candidate()
        self._remove_retired()
        if not self._state.arms():
            if self._state.front:
                process.stop(self._state.front.process, grace=self._drain)
            self._state = LocalState(service=self._state.service, port=self._port)
            self._folder.write(None)
        used = {arm.folder for arm in self._state.arms()}
        for folder in self.models.iterdir():
            if str(folder) not in used:
                shutil.rmtree(folder)

    def _recover(self) -> None:
        state = self._folder.read()
        parts = [part for part in (state.front, *state.arms()) if part] if state else []
        for stray in process.strays(self._folder.path, known=[part.process for part in parts]):
            process.stop(stray, grace=self._drain)
        if state is None:
            return
        self._state = state
        self._check_port()
        for role in ("candidate", "retired"):
            arm = getattr(state, role)
            if arm and not process.is_alive(arm.process):
                self._save(**{role: None})
        if self._state.candidate is None:
            self._save(weight=0)
        self._revive_stable()
        if self._state.arms():
            self._apply()

    def _check_port(self) -> None:
        state = self._state
        if self._port in (0, state.port):
            return
        if state.front and process.is_alive(state.front.process):
            raise InputError(
                f"it answers on port {state.port}, not on {self._port}",
                where=f"service {state.service}",
                remedy="Name that port, or stop the service first with: penstock stop.",
            )
        self._save(port=self._port, front=None)

    def _revive_stable(self) -> None:
        """Start the stable version again if its process died, as after a restart of the machine."""
        arm = self._state.stable
        if not arm or process.is_alive(arm.process):
            return
        release = Release(
            version=arm.version, uri=arm.uri, model=arm.model, folder=Path(arm.folder)
        )
        try:
            revived = self._start_server(release, timeout=_REVIVE_TIMEOUT)
        except PenstockError as error:
            # It serves nobody as it is; a new version must not be kept out by that.
            _log.warning("version %s had died and does not start again: %s", arm.version, error)
            revived = None
        self._save(stable=revived)

    def _start_server(self, release: Release, *, timeout: float) -> ServerArm:
        service, version = self._state.service, release.version
        folder = str(release.folder.resolve())
        log = self.log_of(version)
        log.unlink(missing_ok=True)
        with contextlib.closing(hold_port(0)) as held:
            port = int(held.getsockname()[1])
            if sys.platform != "linux":
                # Elsewhere SO_REUSEADDR does not let the server bind a port that is still held.
                held.close()
            options = {
                "--model": folder,
                "--name": service,
                "--version": str(version),
                "--digest": release.model,
                "--host": LOOPBACK,
                "--port": str(port),
            }
            server = process.start(
                "penstock.serving", [word for pair in options.items() for word in pair], log=log
            )
            arm = ServerArm(
                version=version,
                uri=release.uri,
                model=release.model,
                folder=folder,
                port=port,
                process=server,
            )
            try:
                process.wait_until_ready(
                    f"{arm.url}/v2/models/{service}/versions/{version}/ready",
                    server,
                    timeout=timeout,
                    log=log,
                    what=f"the server of version {version}",
                )
            except BaseException:
                process.stop(server, grace=5)
                raise
        return arm

    def _ensure_front(self) -> None:
        front = self._state.front
        if front is None or not process.is_alive(front.process):
            front = start_front(self._folder, port=self._state.port)
            self._save(port=front.port, front=front)

    def _apply(self) -> None:
        """Make the front's table what the state says."""
        self._ensure_front()
        state = self._state
        table = [
            {"version": arm.version, "url": arm.url, "weight": state.weight_of(arm)}
            for arm in state.arms()
        ]
        if state.front:
            set_arms(self._folder, state.front, table)

    def _remove_candidate(self) -> None:
        if self._state.candidate:
            self._save(weight=0)
            self._remove(self._state.candidate, candidate=None)

    def _remove_retired(self) -> None:
        if self._state.retired:
            self._remove(self._state.retired, retired=None)

    def _remove(self, arm: ServerArm, **changes: Any) -> None:
        """Stop one server: no new requests, drained, out of the table, ended; in this order."""
        self._apply()
        deadline = time.monotonic() + self._drain
        while self._in_flight(arm) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._save(**changes)
        self._apply()
        process.stop(arm.process, grace=self._drain)

    def _in_flight(self, arm: ServerArm) -> int:
        arms = arms_of(self._folder, self._state.front) if self._state.front else []
        return sum(int(fields["in_flight"]) for fields in arms if fields["url"] == arm.url)

    def _require_candidate(self, version: int) -> ServerArm:
        candidate = self._state.candidate
        if candidate is None or candidate.version != version:
            raise InputError(
                f"version {version} is not the candidate",
                where=f"service {self._state.service}",
                remedy="Deploy it first.",
            )
        return candidate

    def _save(self, **changes: Any) -> None:
        self._state = self._state.model_copy(update=changes)
        self._folder.write(self._state)


def _is(arm: ServerArm, release: Release) -> bool:
    return (arm.version, arm.model) == (release.version, release.model)
