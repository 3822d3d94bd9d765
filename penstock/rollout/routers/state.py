"""What a local service consists of, written down so that any later process can steer it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from penstock.records.base import Record, Value
from penstock.records.rollout import Grids
from penstock.rollout.router import Release, Routing
from penstock.rollout.routers.loopback import LOOPBACK
from penstock.rollout.routers.process import ProcessRef
from penstock.serving.marks import key_of

Role = Literal["stable", "candidate", "retired"]


class Origin(Value):
    """What a version's server is started from; the fields are `router.Release`'s."""

    version: int
    uri: str
    model: str
    folder: str
    export: str = ""
    drill: str = ""

    @classmethod
    def of(cls, release: Release) -> Origin:
        """Return a release as it is written down."""
        return cls(
            version=release.version,
            uri=release.uri,
            model=release.model,
            folder=str(release.folder.resolve()),
            export=release.export,
            drill=release.drill,
        )

    def same(self, other: Origin) -> bool:
        """Return whether both are one version served one way, wherever its folder lies."""
        return self.model_copy(update={"folder": other.folder}) == other


class ServerArm(Value):
    """One version's server process."""

    identity: str = Field(description="Another one each time that a version is brought up")
    origin: Origin
    port: int
    process: ProcessRef
    restarts: int = Field(default=0, description="Times it was found dead since it was brought up")

    @property
    def version(self) -> int:
        """The version that it serves."""
        return self.origin.version

    @property
    def url(self) -> str:
        """Where this version alone answers."""
        return f"http://{LOOPBACK}:{self.port}"


class Lost(Value):
    """A version that was given up because its server did not start again."""

    version: int
    restarts: int
    reason: str


class Assignment(Value):
    """How requests find their version besides the weight; the fields are `router.Routing`'s."""

    mirror: float = 0.0
    sticky_header: str = ""
    choice_header: str = ""
    grids: Grids | None = Field(default=None, description="None: the default ones")

    @classmethod
    def of(cls, routing: Routing) -> Assignment:
        """Return a routing as it is written down."""
        return cls(
            mirror=routing.mirror,
            sticky_header=routing.sticky_header,
            choice_header=routing.choice_header,
            grids=routing.grids if routing.grids != Grids() else None,
        )


class Front(Value):
    """The process that owns the public port."""

    port: int
    admin_port: int
    process: ProcessRef


class LocalState(Record):
    """`state.json` of one service. `weight` is the candidate's share of requests, in percent."""

    KIND: ClassVar[str] = "local-service"
    VERSION: ClassVar[int] = 2

    service: str
    port: int = Field(description="The public port")
    front: Front | None = None
    stable: ServerArm | None = None
    candidate: ServerArm | None = None
    retired: ServerArm | None = Field(
        default=None, description="Stable before the last promotion, until it is cleaned up"
    )
    weight: int = 0
    assignment: Assignment = Assignment()
    previous: Origin | None = Field(
        default=None, description="Stable before the one that is; its folder is kept"
    )
    lost: Lost | None = Field(default=None, description="The candidate that was given up last")

    def arms(self) -> tuple[ServerArm, ...]:
        """Return the servers that are up, the stable one first."""
        return tuple(self.roles().values())

    def roles(self) -> dict[Role, ServerArm]:
        """Return the servers that are up by what they are for, the stable one first."""
        every: dict[Role, ServerArm | None] = {
            "stable": self.stable,
            "candidate": self.candidate,
            "retired": self.retired,
        }
        return {role: arm for role, arm in every.items() if arm}

    def weight_of(self, role: Role) -> int:
        """Return a role's share of new requests, in percent."""
        if role == "candidate":
            return self.weight
        return 100 - self.weight if role == "stable" else 0


class ServiceFolder:
    """The folder of one service: its state, its token, its lease, its models, logs and captures."""

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

    def key(self) -> str:
        """Return what marks requests of this service's rollouts."""
        return key_of(self.token.read_text(encoding="utf-8").strip())

    def log(self, name: str) -> Path:
        """Return the path of one process's log."""
        return self.path / f"{name}.log"

    def captures(self, version: int) -> Path:
        """Return the folder that a version's server captures its answers in."""
        return self.path / "captures" / f"version-{version}"
