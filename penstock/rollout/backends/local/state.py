"""What a local service consists of, written down so that any later process can steer it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection, Container
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from penstock.common.disk import writing
from penstock.errors import PenstockError, ServiceError
from penstock.processes.identity import ProcessRef
from penstock.processes.loopback import LOOPBACK
from penstock.records.base import Record, Value
from penstock.records.rollout import Grids
from penstock.rollout.backends.local import strays
from penstock.rollout.backends.local.lease import Lease
from penstock.rollout.router import Release, Routing
from penstock.serving.marks import key_of

Role = Literal["stable", "candidate", "retired"]

SERVICE_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""What can be the name of a folder and part of an address."""


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
    death_counted: bool = Field(
        default=False, description="Whether the death of this process is among them already"
    )

    @property
    def version(self) -> int:
        """The version that it serves."""
        return self.origin.version

    @property
    def deaths(self) -> int:
        """Times it was found dead, were it found dead now."""
        return self.restarts + (not self.death_counted)

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
    VERSION: ClassVar[int] = 3

    service: str
    term: int = Field(default=0, description="The lease's when it was written")
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

    @classmethod
    def parse(cls, raw: object, *, where: str) -> Self:
        """Build a state, also from what the release before wrote; see `strays.recognised`."""
        if isinstance(raw, dict) and raw.get("schema_version") == 2:
            raw = raw | {"schema_version": cls.VERSION}
        return super().parse(raw, where=where)

    def with_processes(self, change: Callable[[ProcessRef], ProcessRef]) -> Self:
        """Return it with each process as `change` gives it back."""
        parts: dict[str, Front | ServerArm | None] = {"front": self.front}
        parts |= {str(role): arm for role, arm in self.roles().items()}
        changed = {
            name: part.model_copy(update={"process": change(part.process)})
            for name, part in parts.items()
            if part
        }
        return self.model_copy(update=changed)

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

    def write(self, state: LocalState | None, *, lease: Lease) -> LocalState | None:
        """Replace the state, and return it; None removes it.

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
                    state = state.model_copy(update={"term": lease.term})
                    state.write(self._state)
        return state

    def sweep(self, *, lease: Lease) -> None:
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
        """Return what an admin call of the front shows."""
        return {"authorization": f"Bearer {self.token.read_text(encoding='utf-8').strip()}"}

    def _make_token(self) -> None:
        # Whole or absent, and never replaced: a front that runs knows the first one alone.
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

    def forget_all_but(self, versions: Collection[int]) -> None:
        """Delete the captures and logs of other versions; what cannot be removed stays."""
        for path in (*self.path.glob("captures/version-*"), *self.path.glob("version-*.log*")):
            named = re.fullmatch(r"version-(\d+)(\.log(\.1)?)?", path.name)
            if named is None or int(named[1]) in versions:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


def _link(made: Path, target: Path) -> None:
    """Give a file a second name unless that is taken already."""
    try:
        target.hardlink_to(made)
    except FileExistsError:
        pass
    except OSError:
        # A file system without hard links.
        made.replace(target)
