"""What a local service consists of, written down so that any later process can steer it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from penstock.errors import ServiceError
from penstock.records.base import Record, Value
from penstock.rollout.routers.process import LOOPBACK, ProcessRef


class ServerArm(Value):
    """One version's server process."""

    version: int
    uri: str
    model: str
    folder: str
    port: int
    process: ProcessRef

    @property
    def url(self) -> str:
        """Where this version alone answers."""
        return f"http://{LOOPBACK}:{self.port}"


class Front(Value):
    """The process that owns the public port."""

    port: int
    admin_port: int
    process: ProcessRef


class LocalState(Record):
    """`state.json` of one service. `weight` is the candidate's share of requests, in percent."""

    KIND: ClassVar[str] = "local-service"

    service: str
    port: int = Field(description="The public port")
    front: Front | None = None
    stable: ServerArm | None = None
    candidate: ServerArm | None = None
    retired: ServerArm | None = Field(
        default=None, description="Stable before the last promotion, until it is cleaned up"
    )
    weight: int = 0
    replaced: int | None = Field(
        default=None, description="The version that the stable one took over from"
    )

    def arms(self) -> tuple[ServerArm, ...]:
        """Return the servers that are up, the stable one first."""
        return tuple(arm for arm in (self.stable, self.candidate, self.retired) if arm)

    def weight_of(self, arm: ServerArm) -> int:
        """Return an arm's share of new requests, in percent."""
        if arm == self.candidate:
            return self.weight
        return 100 - self.weight if arm == self.stable else 0


class ServiceFolder:
    """The folder of one service: its state, its token, its lock, its models and logs."""

    def __init__(self, home: Path, service: str) -> None:
        self.service = service
        self.path = home.resolve() / "serving" / service
        self.models = self.path / "models"
        self._state = self.path / "state.json"
        self.token = self.path / "token"

    def make(self) -> None:
        """Create the folder, closed to other users: its token steers the service."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self.models.mkdir(exist_ok=True)
        if not self.token.exists():
            with open(os.open(self.token, os.O_CREAT | os.O_WRONLY, 0o600), "w") as stream:  # noqa: PTH123
                stream.write(secrets.token_urlsafe(32))

    @classmethod
    def all_below(cls, home: Path) -> list[ServiceFolder]:
        """Return the folders of every service that was ever served below `home`, by name."""
        serving = home.resolve() / "serving"
        names = sorted(p.name for p in serving.iterdir() if p.is_dir()) if serving.is_dir() else []
        return [cls(home, name) for name in names]

    def read(self) -> LocalState | None:
        """Return the state, or None where nothing was left serving."""
        return LocalState.read(self._state) if self._state.exists() else None

    def write(self, state: LocalState | None) -> None:
        """Replace the state; None removes it."""
        if state is None:
            self._state.unlink(missing_ok=True)
        else:
            state.write(self._state)

    def headers(self) -> dict[str, str]:
        """Return what an admin call of the front shows."""
        return {"authorization": f"Bearer {self.token.read_text(encoding='utf-8').strip()}"}

    def log(self, name: str) -> Path:
        """Return the path of one process's log."""
        return self.path / f"{name}.log"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the service for one process at a time; the lock goes when its holder does.

        Raises:
            ServiceError: If another process holds it.
        """
        self.make()
        with (self.path / "lock").open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                stream.seek(0)
                raise ServiceError(
                    f"process {stream.read().strip() or '?'} is deploying or stopping it",
                    where=f"service {self.service}",
                    remedy="Wait until it has ended, then try again.",
                ) from error
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield
