"""Several people and homes, one registry: what they do, what goes wrong, what must hold."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from release_models import PLAN, evaluation_of, model_in, policy_asking
from release_oracle import Truth, breaks_of
from release_process import NAME, Fault, Result, RunningCommand, Simulation
from target_emulator import Service

from penstock import model
from penstock.common.files import digest_of_text
from penstock.gate.decision import decide
from penstock.pipelines import cli
from penstock.records.approval import Identity
from penstock.records.release import Registration
from penstock.records.rollout import Order, Rollout
from penstock.registry import approvals, versions
from penstock.registry.champion import checked_champion
from penstock.registry.evidence import Grounds
from penstock.registry.register import register
from penstock.registry.verify import verify
from penstock.rollout import control, release
from penstock.rollout.release import Outputs
from penstock.rollout.spec import DeploymentSpec

TRAINER = "tina"


class World(Simulation):
    """A simulation with its people."""

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
        made = model_in(self.folder / "trained" / str(number), number=number)
        policy = policy_asking(people)
        found = self._champion()
        uri = f"models:/{NAME}/{found}" if found else ""
        evaluation = evaluation_of(model.digest_of(made), champion=uri, policy=policy)
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
            return approvals.give(
                f"models:/{NAME}/{version}",
                verdict=verdict,
                by=by,
                reason="I looked at it.",
                tracking_uri=self.uri,
            )

        result = self.run("say", act, home=home, fault=fault)
        if result.error is None:
            self.oracle.versions[version].words[person] = (verdict, self.time)
            self.oracle.versions[version].half_said.discard(person)
        elif verdict == "rejected" and result.disturbed:
            self.oracle.versions[version].half_said.add(person)
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
            and not self.unfinished(home)
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
            target = result.value.candidate
            # Going forward again, by name, is no word on what was served in between.
            self.oracle.versions[champion].rolled_back |= target < champion
            self.oracle.versions[target].rolled_back = False
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
        """Set the champion by the command that is there for it."""
        command = f"audit --model {NAME} --champion {version} --as ben --reason Mended"
        options = _commands().parse_args([*command.split(), "--tracking-uri", self.uri])

        def act() -> int:
            with contextlib.redirect_stdout(io.StringIO()):
                return int(options.command(options))

        return self.run("audit", act, home=home, version=version, fault=fault, named=True)

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
        shutil.rmtree(service.models, ignore_errors=True)

    # -- what is checked
    def check(self) -> None:
        """What must be so after each step, whatever it was."""
        assert not self.oracle.wrong, "\n".join(self.oracle.wrong)
        found = self._registered()
        if found is None:
            return
        broken = breaks_of(found.tags)
        assert not broken, f"the audit log is no chain: {broken}"
        alias = found.aliases.get(versions.CHAMPION)
        alias = None if alias is None else int(alias)
        if not self.oracle.by_hand:
            assert alias == self.oracle.champion, f"alias {alias}, truth {self.oracle.champion}"
        for home in range(len(self.homes)):
            self._check_traffic(home)

    def _check_traffic(self, home: int) -> None:
        service = self.homes[home]
        if service.state.stable is not None and service.table:
            assert sum(service.table.values()) == 100, f"users get {service.table}"
        if service.state.stable is None:
            return
        if service.holder is not None or self.unfinished(home) or service.rough:
            return
        assert service.table == {service.state.stable.version: 100}, (
            f"no rollout is under way, and users get {service.table}"
        )

    def check_verify(self, version: int) -> None:
        """Verify says of a version what is so."""
        uri = f"models:/{NAME}/{version}"
        if version == self.oracle.champion and version not in self.oracle.past:
            # Made the champion by hand: what verify says of that is the log's own test.
            return
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
        champion = self.oracle.versions.get(self.oracle.champion or 0)
        if champion:
            # Without this it could be neither champion nor brought up, to compare the next with it.
            rejecting = {who for who, (said, _) in champion.words.items() if said == "rejected"}
            for person in sorted(rejecting | champion.half_said):
                self.say(person, champion.number, "approved")
        if self.oracle.by_hand and self.oracle.champion is None:
            self.registry.delete_registered_model_alias(NAME, versions.CHAMPION)
            self.oracle.by_hand = False
        elif self.oracle.by_hand:
            done = self.mend(self.oracle.champion)
            assert done.value == 0, f"audit --champion: {done.error or done.value}"
        for home in range(len(self.homes)):
            for _ in range(3):
                if not self.unfinished(home):
                    break
                if self.resume(home=home).error is not None:
                    self.abort(home=home)
            assert not self.unfinished(home), f"home {home} stays with an unfinished rollout"
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

    def _expected(self, version: int, *, home: int) -> tuple[str, ...] | None:
        """What an undisturbed release must come to; None: that depends."""
        service, oracle = self.homes[home], self.oracle
        if any(self.unfinished(h) for h in range(len(self.homes))):
            return None
        serves = service.state.stable is not None and service.state.stable.version == version
        if oracle.by_hand and version == oracle.champion:
            # To be put right first, or what is right already: both are honest.
            return None
        if serves and oracle.versions[version].altered:
            # What serves is as it was; whether the registry's copy is looked at is not said.
            return None
        if oracle.objection(version, self.time):
            return ("NotApprovedError", "IntegrityError", "InputError", "ServiceError")
        stable = service.state.stable
        if stable is not None and stable.version != oracle.champion:
            return None
        if stable is not None and "tags" in oracle.versions[stable.version].altered:
            # By the registry's word its files are others than those that serve.
            return ("InputError",)
        if version == oracle.champion or oracle.champion is None:
            return ("promoted",)
        if stable is None and oracle.objection_to_return(oracle.champion, named=True):
            # There is nothing to compare it with.
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

    def _champion(self) -> int | None:
        """As an evaluation finds it."""
        self.processes.append(RunningCommand("evaluate", None, timedelta(), None, {}))
        try:
            found = checked_champion(NAME, tracking_uri=self.uri).version
        finally:
            self.processes.pop()
        return found.version if found else None


@functools.cache
def _commands() -> argparse.ArgumentParser:
    return cli.parser()
