"""What a local service consists of, written down so that any later process can steer it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Collection, Container
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from penstock.captures import retention
from penstock.captures.spec import CapturesSpec
from penstock.common.disk import writing
from penstock.errors import PenstockError, ServiceError
from penstock.processes.identity import ProcessRef, is_alive
from penstock.processes.loopback import LOOPBACK
from penstock.records.base import Value, renamed
from penstock.records.feature_server import FeatureServerSpec
from penstock.rollout.backends.local import strays
from penstock.rollout.backends.local.lease import FileLease
from penstock.rollout.router import Release
from penstock.rollout.state import Arm, ServiceState, StateStore
from penstock.serving.request_headers import key_of

SERVICE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""What can be the name of a folder and part of an address."""

ROLLOUTS = "rollouts"
"""Folder of a service that has one for each of its rollouts."""

_BEFORE = "local-service"


class ServerArm(Arm):
    """One version, and the server process of it where one was started."""

    folder: str = Field(description="The model's, on this machine")
    identity: str = Field(
        default="",
        description="Another one each time that a version is brought up; empty: it is not",
    )
    port: int = 0
    process: ProcessRef | None = None
    restarts: int = Field(default=0, description="Times it was found dead since it was brought up")
    death_counted: bool = Field(
        default=False, description="Whether the death of this process is among them already"
    )

    @classmethod
    def of(cls, release: Release) -> ServerArm:
        """Return a release as it is written down, with no server yet."""
        return cls(
            version=release.version,
            uri=release.uri,
            model=release.model,
            export=release.export,
            fault=release.fault,
            folder=str(release.folder.resolve()),
        )

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and is_alive(self.process)

    @property
    def deaths(self) -> int:
        """Times it was found dead, were it found dead now."""
        return self.restarts + (not self.death_counted)

    @property
    def url(self) -> str:
        """Where this version alone answers."""
        return f"http://{LOOPBACK}:{self.port}"

    def at_rest(self) -> Self:
        """Return it without its process, as it is kept for a way back."""
        blank = {"identity": "", "port": 0, "process": None, "restarts": 0, "death_counted": False}
        return self.model_copy(update=blank)


class ProxyProcess(Value):
    """The process that owns the public port."""

    port: int
    admin_port: int
    process: ProcessRef


class LocalState(ServiceState[ServerArm]):
    """`state.json` of one service."""

    port: int = Field(description="The public port")
    proxy: ProxyProcess | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_releases(cls, given: Any) -> Any:
        return renamed(given, proxy="front")

    @classmethod
    def parse(cls, raw: object, *, where: str) -> Self:
        """Build a state, also from what the releases before wrote."""
        if isinstance(raw, dict) and raw.get("record") == f"penstock/{_BEFORE}":
            raw = _of_before(raw)
        return super().parse(raw, where=where)

    def with_processes(self, change: Callable[[ProcessRef], ProcessRef]) -> Self:
        """Return it with each process as `change` gives it back."""

        def changed(arm: ServerArm) -> ServerArm:
            if arm.process is None:
                return arm
            return arm.model_copy(update={"process": change(arm.process)})

        changes: dict[str, Any] = {role: changed(arm) for role, arm in self.roles().items()}
        changes["passing"] = tuple(changed(arm) for arm in self.passing)
        if self.proxy:
            changes["proxy"] = self.proxy.model_copy(update={"process": change(self.proxy.process)})
        return self.model_copy(update=changes)


def _of_before(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a state of version 2 or 3 of the record before as this release has it."""
    if raw.get("schema_version") not in (2, 3):
        return raw
    changed = {**raw, "record": f"penstock/{LocalState.KIND}", "schema_version": LocalState.VERSION}
    for role in ("stable", "candidate", "retired"):
        arm = raw.get(role)
        if isinstance(arm, dict) and isinstance(arm.get("origin"), dict):
            # Version and files stood in a part of their own.
            changed[role] = {key: arm[key] for key in arm if key != "origin"} | arm["origin"]
    return changed


class ServiceFolder:
    """The folder of one service: its state, its token, its lease, its models, logs and captures."""

    def __init__(
        self,
        home: Path,
        service: str,
        *,
        captures: CapturesSpec | None = None,
        features: FeatureServerSpec | None = None,
        trusted_keys: Path | None = None,
    ) -> None:
        self.service = service
        self.capture_settings = captures or CapturesSpec()
        self.features = features or FeatureServerSpec()
        self.trusted_keys = trusted_keys
        self.path = home.resolve() / "serving" / service
        self.models = self.path / "models"
        self._state = self.path / "state.json"
        self.token = self.path / "token"

    def make(self) -> None:
        """Create the folder, closed to other users: its token steers the service.

        Raises:
            ServiceError: If it cannot be written.
        """
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self.models.mkdir(exist_ok=True)
            if not self.token.exists() or self.token.stat().st_size == 0:
                self._make_token()

    @classmethod
    def all_below(cls, home: Path) -> list[ServiceFolder]:
        """Return the folders of every service that was ever served below `home`, by name."""
        serving = home.resolve() / "serving"
        try:
            names = sorted(path.name for path in serving.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ServiceError(
                f"it cannot be read: {error.strerror}",
                where=str(serving),
                remedy="Ask as the user who served there.",
            ) from error
        return [cls(home, name) for name in names if re.fullmatch(SERVICE_NAME, name)]

    def read(self) -> LocalState | None:
        """Return the state, or None where nothing was left serving.

        Raises:
            InputError: If it cannot be read.
        """
        # Not `exists`: of a folder that may not be read it would say that nothing is there.
        try:
            self._state.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            pass
        state = LocalState.read(self._state)
        return state.with_processes(lambda ref: strays.recognised(ref, self.path))

    def term(self) -> int:
        """Return the term in which the state was written; 0: there is none that can be read."""
        try:
            state = self.read()
        except PenstockError:
            return 0
        return state.term if state else 0

    def write(self, state: LocalState | None, *, lease: FileLease) -> None:
        """Replace the state; None removes it.

        Raises:
            LeaseLostError: If the lease is lost, or the state is of a later term; nothing is
                written.
            ServiceError: If it cannot be written; it is as it was.
        """
        with lease.guarded():
            if self.term() > lease.term:
                raise lease.lost("its state is of a later controller's")
            with writing(self._state):
                if state is None:
                    self._state.unlink(missing_ok=True)
                else:
                    state.write(self._state)

    def sweep(self, *, lease: FileLease) -> None:
        """Remove what a write that was killed left half done; nothing ever reads it."""
        with lease.guarded():
            for name in (self._state.name, "lease.json"):
                for path in self.path.glob(f".{name}.*"):
                    with contextlib.suppress(OSError):
                        path.unlink()

    def unused_models(self, used: Container[str]) -> list[Path]:
        """Return the folders of `models` that are not `used`, what a killed removal left included.

        Whatever else lies there is nobody's model, and is left alone.
        """
        try:
            # What a killed removal left comes first, for its name begins with a dot.
            found = sorted(self.models.iterdir())
        except OSError:
            return []
        return [
            path
            for path in found
            if str(path) not in used and path.is_dir() and not path.is_symlink()
        ]

    def headers(self) -> dict[str, str]:
        """Return what an admin call of the proxy shows."""
        return {"authorization": f"Bearer {self.token.read_text(encoding='utf-8').strip()}"}

    def _make_token(self) -> None:
        # Whole or absent, and never replaced: a proxy that runs knows the first one alone.
        handle, name = tempfile.mkstemp(dir=self.path, prefix=f".{self.token.name}.")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_urlsafe(32))
                stream.flush()
                os.fsync(stream.fileno())
            if self.token.exists():
                # Empty, of an earlier release that was killed as it made it.
                self.token.unlink()
            _link(Path(name), self.token)
        finally:
            Path(name).unlink(missing_ok=True)

    def key(self) -> str:
        """Return what marks requests of this service's rollouts."""
        return key_of(self.token.read_text(encoding="utf-8").strip())

    def log(self, name: str) -> Path:
        """Return the path of one process's log."""
        return self.path / f"{name}.log"

    def captures(self, version: int) -> Path:
        """Return the folder that a version's server captures its answers in."""
        return self.path / "captures" / f"version-{version}"

    def events(self, experiment: str) -> Path:
        """Return the file that the events of an experiment are appended to."""
        return self.path / ROLLOUTS / experiment / "events.jsonl"

    def forget_all_but(self, versions: Collection[int]) -> None:
        """Delete the captures and logs of other versions; what cannot be removed stays."""
        for path in (*self.path.glob("captures/version-*"), *self.path.glob("version-*.log*")):
            named = re.fullmatch(r"version-(\d+)(\.log(\.1)?)?", path.name)
            if named is None or int(named[1]) in versions:
                continue
            if path.is_dir():
                retention.forget(path)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


class FileStore(StateStore[LocalState]):
    """`state.json` of one service."""

    def __init__(self, folder: ServiceFolder, *, lease: FileLease, port: int) -> None:
        super().__init__(lease, fresh=LocalState(service=folder.service, port=port))
        self._folder = folder
        self._file_lease = lease

    def _read(self) -> LocalState | None:
        return self._folder.read()

    def _write(self, state: LocalState) -> None:
        self._folder.write(state, lease=self._file_lease)

    def _delete(self) -> None:
        self._folder.write(None, lease=self._file_lease)


def _link(made: Path, target: Path) -> None:
    """Give a file a second name unless that is taken already."""
    try:
        target.hardlink_to(made)
    except FileExistsError:
        pass
    except OSError:
        # A file system without hard links.
        made.replace(target)
