"""Several people and homes, one registry: commands that are killed, refused, interrupted, crossed.

A command runs in a process of its own, with its actor's clock. `Fault` says what happens to it at
its n-th effect; `meanwhile` says what somebody else does while it starts a server or looks.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import sys
import time as real_time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from place_emulator import EACH, PlaceEmulator, Service
from registry_emulator import RegistryEmulator
from release_oracle import Oracle, Truth, breaks_of

from penstock import model, progress, tracking
from penstock.errors import PenstockError
from penstock.files import digest_of_text
from penstock.gate.decide import decide
from penstock.policy.approval import ApprovalSpec
from penstock.policy.spec import Policy
from penstock.records.approval import Identity
from penstock.records.dataset import Column
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison, Evaluation, Scores
from penstock.records.model import FILE_NAME, Model
from penstock.records.release import Registration
from penstock.records.rollout import Order, Rollout
from penstock.registry import approvals, versions
from penstock.registry.audit import Word
from penstock.registry.champion import checked_champion
from penstock.registry.evidence import Grounds
from penstock.registry.register import register
from penstock.registry.verify import verify
from penstock.rollout import control, release, smoke
from penstock.rollout.release import Outputs
from penstock.rollout.spec import DeploymentSpec
from penstock.serving import questions

NAME = "adult"
TRAINER = "tina"
WRITES = ("create_", "set_", "delete_", "log_", "finalize_")
HOLDOUT = "xxh3-128:00000000000000000000000000000002"
TRAINING = "xxh3-128:00000000000000000000000000000001"

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
class Process:
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


class World:
    """See the module.

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
        self.processes: list[Process] = []
        self.orders: dict[int, Order] = {}
        self.originals: dict[tuple[int, str], Any] = {}
        self.runs = itertools.count(1)
        self.homes = [Service(folder / f"home{h}", NAME, self._errors) for h in range(len(clocks))]
        self.shares: dict[str, dict[int, int]] = {}
        self.crowned_at: int | None = None

    # -- what the emulators ask
    @property
    def process(self) -> Process:
        return self.processes[-1]

    def alive(self, process: object) -> bool:
        return isinstance(process, Process) and not process.over

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
        value = act()
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
            # The rest goes back to what served beside or just before the candidate.
            if had or (arm in (service.state.stable,) and self._was_stable(service, arm.version)):
                if arm.version != self.process.version:
                    continue
            self._judge(arm.version, f"gets {share} % of the requests")

    def _was_stable(self, service: Service, version: int) -> bool:
        return service.steady == version

    def _judge(self, version: int, what: str) -> None:
        why = self._objection(version)
        if why:
            self._wrong(f"version {version} {what} in a {self.process.command}, though {why}")

    def _objection(self, version: int) -> str:
        """Why the process may not bring a version to users or crown it; empty: it may."""
        oracle, process = self.oracle, self.process
        if process.command == "release" and version == process.version:
            return oracle.objection(version, self.time)
        if version in process.leftover or version == process.version:
            mending = process.command == "audit"
            if process.command != "rollback" and not oracle.objection(
                version, self.time, mending=mending
            ):
                return ""
        return oracle.objection_to_return(version, named=process.named)

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

    def place(self, home: int) -> PlaceEmulator:
        return PlaceEmulator(self.homes[home], self)

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
        begun = {journal.rollout.candidate for journal in self._unfinished(home)}
        leftover = begun.union(arm.version for arm in (state.stable, state.candidate) if arm)
        process = Process(command, version, clock, fault, meanwhile or {}, named, home, leftover)
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

    def register(
        self,
        *,
        good: bool = True,
        people: int = 0,
        policy_kept: bool = True,
        home: int = 0,
        fault: Fault | None = None,
    ) -> int | None:
        """Register another model, with a decision against the champion of now."""
        number = next(self.runs)
        made = self._model(number)
        policy = _policy(people)
        found = checked_champion_of(self)
        evaluation = _evaluation(model.digest_of(made), champion=found, policy=policy)
        decision = decide(evaluation, policy=policy)
        grounds = Grounds(policy=policy if policy_kept else None, requested_by=TRAINER)

        def act() -> Registration:
            return register(
                made,
                decision=decision,
                evaluation=evaluation,
                name=NAME,
                tracking_uri=self.uri,
                grounds=grounds,
            )

        result = self.run("register", act, home=home, fault=fault)
        if result.error is not None and result.disturbed:
            result = self.run("register", act, home=home)
        if result.error is not None:
            self._refused_register(result)
            return None
        done: Registration = result.value
        self.oracle.versions[done.version] = Truth(
            number=done.version,
            files=done.model,
            compared=found,
            people=people,
            policy_kept=policy_kept,
            good=good,
            trainer=TRAINER,
        )
        self.orders[done.version] = Order(
            registration=done,
            decision=decision,
            deployment=PLAN,
            holdout="none",
            tracking_uri=self.uri,
        )
        return done.version

    def _refused_register(self, result: Result) -> None:
        if not self.oracle.by_hand:
            self._wrong(f"an honest registration was refused: {result.error}")

    def say(
        self,
        person: str,
        version: int,
        verdict: Literal["approved", "rejected"],
        *,
        home: int = 0,
        fault: Fault | None = None,
    ) -> Result:
        def act() -> Any:
            by = Identity(name=person, means="kubernetes user")
            return approvals.say(
                f"models:/{NAME}/{version}",
                verdict=verdict,
                by=by,
                reason="I looked at it.",
                tracking_uri=self.uri,
            )

        result = self.run("say", act, home=home, fault=fault)
        if result.error is None:
            self.oracle.versions[version].words[person] = (verdict, self.time)
        return result

    def deploy(
        self,
        version: int,
        *,
        home: int = 0,
        run: str = "",
        fault: Fault | None = None,
        meanwhile: dict[int, Callable[[], None]] | None = None,
        plan: dict[str, Any] | None = None,
    ) -> Result:
        order = self.orders[version]
        if plan is not None:
            order = order.model_copy(update={"deployment": plan})
        service = self.homes[home]
        outputs = Outputs(*(service.folder / "outputs" / str(n) for n in range(3)))

        def act() -> Rollout:
            name = run or f"run{next(self.runs)}"
            return release.release(self.place(home), order, run=name, outputs=outputs)

        self._steady(service)
        expected = self._expected(version, home=home)
        result = self.run(
            "release", act, home=home, version=version, fault=fault, meanwhile=meanwhile
        )
        if result.promised and result.outcome == "promoted":
            self._wrong(f"an abort of version {version} was promised, and it was promoted")
        self._check_rest(home, result)
        if not result.disturbed and expected is not None and result.outcome not in expected:
            self._wrong(
                f"version {version} should come to {' or '.join(expected)}, and came to "
                f"{result.outcome}: {result.error or result.value.reason}"
            )
        return result

    def roll_back(
        self,
        *,
        home: int = 0,
        to: int | None = None,
        fault: Fault | None = None,
        meanwhile: dict[int, Callable[[], None]] | None = None,
    ) -> Result:
        service = self.homes[home]
        before = service.state.stable
        champion = self.oracle.champion
        self._steady(service)
        must = (
            to is not None
            and before is not None
            and before.version != to
            and not self.oracle.by_hand
            and not self._unfinished(home)
            and not self.oracle.objection_to_return(to, named=True)
        )
        result = self.run(
            "rollback",
            lambda: control.roll_back(
                self.place(home), spec=DeploymentSpec(port=0), tracking_uri=self.uri, to=to
            ),
            home=home,
            version=to,
            fault=fault,
            meanwhile=meanwhile,
            named=to is not None,
        )
        if must and not result.disturbed and result.outcome != "promoted":
            self._wrong(f"version {to} was champion, and a rollback to it fails: {result.error}")
        self._check_rest(home, result)
        if champion is not None and isinstance(result.value, Rollout):
            self.oracle.versions[champion].rolled_back = True
            self.oracle.versions[result.value.candidate].rolled_back = False
        return result

    def resume(self, *, home: int = 0, fault: Fault | None = None) -> Result:
        service = self.homes[home]
        version = service.state.candidate.version if service.state.candidate else None
        self._steady(service)
        result = self.run(
            "resume",
            lambda: control.resume(self.place(home)),
            home=home,
            version=version,
            fault=fault,
            named=True,
        )
        self._check_rest(home, result)
        return result

    def abort(self, *, home: int = 0, fault: Fault | None = None) -> Result:
        result = self.run(
            "abort",
            lambda: control.abort(self.place(home), reason="Somebody asked.", patience=0),
            home=home,
            fault=fault,
        )
        if result.error is None and result.value is None and self.processes:
            self.process.promised = True
        else:
            self._check_rest(home, result)
        return result

    def mend(self, version: int, *, home: int = 0, fault: Fault | None = None) -> Result:
        """`penstock audit --champion VERSION --reason TEXT`."""
        word = Word(by="ben", means="kubernetes user", reason="Put right.")
        return self.run(
            "audit",
            lambda: versions.set_champion(NAME, version, tracking_uri=self.uri, word=word),
            home=home,
            version=version,
            fault=fault,
            named=True,
        )

    # -- what people do behind its back
    def move_by_hand(self, version: int) -> None:
        self.registry.set_registered_model_alias(NAME, versions.CHAMPION, str(version))
        self.oracle.by_hand = version != self.oracle.champion

    def alter(self, version: int, what: Literal["files", "tags"]) -> None:
        """Change what is registered; `restore` puts it back."""
        truth = self.oracle.versions[version]
        if what in truth.altered:
            return
        truth.altered.add(what)
        changed = self._files(version) / "model.bin"
        if what == "files":
            self.originals[version, what] = changed.read_bytes()
            changed.write_bytes(b"another model")
            for service in self.homes:
                # What lies below the homes is not believed either.
                for folder in service.models.glob(f"{version}-*"):
                    if service.state.stable is None or service.state.stable.folder != folder:
                        shutil.rmtree(folder)
            return
        tags = self.registry.get_model_version(NAME, str(version)).tags
        self.originals[version, what] = tags[versions.MODEL_DIGEST]
        found = model.digest_of(self._files(version))
        value = found if "files" in truth.altered else digest_of_text("another")
        self.registry.set_model_version_tag(NAME, str(version), versions.MODEL_DIGEST, value)

    def restore(self, version: int) -> None:
        truth = self.oracle.versions[version]
        for what in sorted(truth.altered):
            original = self.originals.pop((version, what))
            if what == "files":
                (self._files(version) / "model.bin").write_bytes(original)
            else:
                self.registry.set_model_version_tag(
                    NAME, str(version), versions.MODEL_DIGEST, original
                )
        truth.altered.clear()

    def days(self, days: float) -> None:
        self.time += timedelta(days=days)

    def stop(self, *, home: int) -> None:
        """The machine is started anew, or somebody ended the service: nothing serves there."""
        service = self.homes[home]
        service.state, service.table = (
            replace(service.state, stable=None, candidate=None, retired=None, weight=0),
            {},
        )
        self.shares[str(service.folder)] = {}

    # -- what is checked
    def check(self) -> None:
        """What must be so after each step, whatever it was."""
        assert not self.oracle.wrong, "\n".join(self.oracle.wrong)
        found = self._registered()
        if found is None:
            return
        broken = breaks_of(found.tags)
        assert not broken, f"the trail is no chain: {broken}"
        alias = found.aliases.get(versions.CHAMPION)
        alias = None if alias is None else int(alias)
        if not self.oracle.by_hand:
            assert alias == self.oracle.champion, f"alias {alias}, truth {self.oracle.champion}"
        for service in self.homes:
            self._check_traffic(service)

    def _check_traffic(self, service: Service) -> None:
        if service.state.stable is not None and service.table:
            assert sum(service.table.values()) == 100, f"users get {service.table}"
        if service.state.stable is None:
            return
        unfinished = [j for j in service_journals(self, service) if j.rollout.outcome is None]
        if service.holder is not None or unfinished:
            return
        assert service.table == {service.state.stable.version: 100}, (
            f"no rollout is under way, and users get {service.table}"
        )

    def check_verify(self, version: int) -> None:
        """Verify says of a version what is so."""
        uri = f"models:/{NAME}/{version}"
        result = self.run("verify", lambda: verify(uri, tracking_uri=self.uri))
        if result.error is not None:
            assert self.oracle.versions[version].altered, f"verify: {result.error}"
            return
        bad = [f"{c.name}: {c.found}" for c in result.value[1] if not c.good]
        truth = self.oracle.versions[version]
        truly = bool(truth.altered) or not truth.policy_kept or self.oracle.by_hand
        assert bool(bad) == truly, f"verify says of version {version}: {bad}, truth: {truly}"

    def settle(self) -> None:
        """Whatever happened, honest people come to a release from here, by documented means."""
        for version in self.oracle.versions:
            self.restore(version)
        if self.oracle.by_hand and self.oracle.champion is None:
            self.registry.delete_registered_model_alias(NAME, versions.CHAMPION)
            self.oracle.by_hand = False
        elif self.oracle.by_hand:
            done = self.mend(self.oracle.champion)
            assert done.error is None, f"audit --champion: {done.error}"
        for home in range(len(self.homes)):
            for _ in range(3):
                if not self._unfinished(home):
                    break
                if self.resume(home=home).error is not None:
                    self.abort(home=home)
            assert not self._unfinished(home), f"home {home} stays with an unfinished rollout"
        self.check()
        version = self.register(people=1)
        self.check()
        assert version is not None
        self.say("ana", version, "approved", home=len(self.homes) - 1)
        done = self.deploy(version)
        self.check()
        assert done.outcome == "promoted", f"an honest release came to {done.outcome}: {done.error}"
        assert self.oracle.champion == version
        self.check_verify(version)

    def trail_events(self, version: int) -> list[str]:
        tags = self._registered().tags
        entries = [json.loads(v) for k, v in tags.items() if k.startswith("penstock.audit.")]
        return [e["event"] for e in entries if e["uri"] == f"models:/{NAME}/{version}"]

    def _unfinished(self, home: int) -> list[Any]:
        return [j for j in service_journals(self, self.homes[home]) if j.rollout.outcome is None]

    def _expected(self, version: int, *, home: int) -> tuple[str, ...] | None:
        """What an undisturbed release must come to; None: that depends."""
        service, oracle = self.homes[home], self.oracle
        if any(self._unfinished(h) for h in range(len(self.homes))):
            return None
        if oracle.objection(version, self.time):
            return ("NotApprovedError", "IntegrityError", "InputError", "ServiceError")
        stable = service.state.stable
        if stable is not None and stable.version != oracle.champion:
            return None
        if version == oracle.champion or oracle.champion is None:
            return ("promoted",)
        if oracle.versions[oracle.champion].altered and stable is None:
            return None
        worse = oracle.versions[oracle.champion].good and not oracle.versions[version].good
        return ("rolled_back",) if worse else ("promoted",)

    def _check_rest(self, home: int, result: Result) -> None:
        """After a command that was done: what serves where it was crowned is the champion."""
        service, oracle = self.homes[home], self.oracle
        stable = service.state.stable
        if result.error or result.disturbed or oracle.by_hand or self.crowned_at != home:
            return
        if self._registered().aliases.get(versions.PREVIOUS) == str(oracle.champion):
            self._wrong("there is no way back: previous names the champion")
        if stable is not None and stable.version != oracle.champion:
            self._wrong(f"version {stable.version} serves, {oracle.champion} is the champion")
        if service.state.candidate or service.state.retired or service.holder:
            self._wrong("a command was done, and left a version without traffic, or the lease")

    def _steady(self, service: Service) -> None:
        service.steady = service.state.stable.version if service.state.stable else None

    def _registered(self) -> Any:
        return versions.registered_model(self.registry, NAME)

    def _files(self, version: int) -> Path:
        return self.registry.files_of(NAME, version)

    def _model(self, number: int) -> Path:
        made = self.folder / "trained" / str(number)
        made.mkdir(parents=True)
        (made / "MLmodel").write_text("flavors: {}\n")
        (made / "model.bin").write_text(str(number))
        Model(
            name="m",
            task="binary",
            target="t",
            classes=("a", "b"),
            positive="b",
            threshold=0.5,
            columns=(Column(name="x", type="number"),),
            metric="roc_auc",
            score=0.9,
            parameters={"n": number},
            dataset=TRAINING,
            seed=0,
            commit="abc123",
            libraries={},
            trusted_types=(),
        ).write(made / FILE_NAME)
        return made


PLAN: dict[str, Any] = {
    "port": 0,
    "canary": {
        "interval": 1,
        "shadow": {"share": 0},
        "steps": [{"weight": 50, "min_samples": 100, "max_wait": 600}],
        "deadline": 3600,
        "traffic": {"source": "live"},
    },
}


class Client:
    """MLflow's client, each of whose calls may be refused or the last of its process."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._world.registry, name)
        return self._call(name, found) if callable(found) else found

    def _call(self, name: str, found: Callable[..., Any]) -> Callable[..., Any]:
        from mlflow.exceptions import MlflowException

        world = self._world

        def call(*given: Any, **named: Any) -> Any:
            process = world.process
            fault = process.fault
            if fault and fault.what == "cut off" and process.effects >= fault.at:
                process.hit = True
                raise MlflowException("the server does not answer")
            if not name.startswith(WRITES):
                return found(*given, **named)

            def act() -> Any:
                value = found(*given, **named)
                if name == "set_registered_model_alias" and given[1] == versions.CHAMPION:
                    world.crown(int(given[2]))
                return value

            return world.effect(name, act, error=lambda: MlflowException(f"{name} failed"))

        return call


def service_journals(world: World, service: Service) -> list[Any]:
    from penstock.rollout.place import history

    return history(PlaceEmulator(service, world))


def checked_champion_of(world: World) -> int | None:
    world.processes.append(Process("evaluate", None, timedelta(), None, {}))
    try:
        found = checked_champion(NAME, tracking_uri=world.uri).version
    finally:
        world.processes.pop()
    return found.version if found else None


def _evaluation(digest: str, *, champion: int | None, policy: Policy) -> Evaluation:
    better = Estimate(value=0.1, low=0.05, high=0.15)
    others = ["majority", "linear", *(["champion"] if champion else [])]
    return Evaluation(
        task="binary",
        metric="accuracy",
        higher_is_better={"accuracy": True},
        dataset=HOLDOUT,
        model=digest,
        rows=200,
        confidence=0.95,
        resamples=100,
        seed=0,
        champion=f"models:/{NAME}/{champion}" if champion else "",
        champion_state="compared" if champion else "none",
        commit="abc123",
        policy=policy.digest(),
        scores=tuple(
            Scores(
                name=name,
                description="",
                model=digest,
                dataset=HOLDOUT,
                metrics={"accuracy": better},
            )
            for name in ("candidate", *others)
        ),
        comparisons=tuple(
            Comparison(against=name, metric="accuracy", advantage=better) for name in others
        ),
    )


def _policy(people: int) -> Policy:
    kept = {"baseline", "linear", "champion", "approval"}
    off = {
        name: None
        for name, f in Policy.model_fields.items()
        if f.default is not None and name not in kept and f.default != ()
    }
    return Policy(**off, approval=ApprovalSpec(people=people))


@contextlib.contextmanager
def put_in_place(world: World) -> Iterator[World]:
    """Let the code under test see this world: its registry, its clocks, its servers' answers."""
    import mlflow.artifacts

    class Metaclass(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Clock(datetime, metaclass=Metaclass):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return world.now(tz)

    def download(*, artifact_uri: str, dst_path: str, **_: Any) -> str:
        return str(world.registry.download_version(artifact_uri, dst_path))

    with contextlib.ExitStack() as stack:

        def put(where: Any, name: str, what: Any) -> None:
            stack.enter_context(mock.patch.object(where, name, what))

        put(tracking, "client", world.client)
        put(real_time, "sleep", world.sleep)
        put(real_time, "monotonic", world.monotonic)
        put(progress, "say", lambda _: None)
        put(release, "render", lambda _: "")
        put(smoke, "scorer_of", lambda _: None)
        put(smoke, "check", lambda *_, **__: 1)
        put(questions, "sample_rows", lambda *_, **__: None)
        if isinstance(world.registry, RegistryEmulator):
            put(mlflow.artifacts, "download_artifacts", download)
        for name, module in list(sys.modules.items()):
            if (
                name.startswith("penstock.")
                and not name.startswith("penstock.records")
                and getattr(module, "datetime", None) is datetime
            ):
                put(module, "datetime", Clock)
        yield world
