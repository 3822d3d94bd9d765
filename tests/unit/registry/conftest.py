"""A real MLflow store, and a registry with what a gate hands over to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from evaluation_world import worlds as worlds
from fresh_store import fresh_store
from signing_keys import write_keypair

from penstock.gate.decision import decide
from penstock.gate.evaluation import Evaluation
from penstock.gate.policy import Policy
from penstock.model import digest_of
from penstock.records.dataset import Dataset
from penstock.records.decision import Decision
from penstock.records.estimate import Estimate
from penstock.records.evaluation import Comparison, Scores
from penstock.records.evidence import folder_of
from penstock.records.release import Registration
from penstock.records.rollout import Order, Rollout
from penstock.registry.audit import CANARY, Actor
from penstock.registry.champion import checked_champion, set_champion
from penstock.registry.evidence import Grounds
from penstock.registry.register import register
from penstock.registry.spec import CardSpec
from penstock.rollout import release
from penstock.rollout.release import Outputs


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return fresh_store(tmp_path)


def plain_policy() -> Policy:
    """The rules on the whole holdout alone: what is measured besides is no matter of a registry."""
    kept = {"baseline", "linear", "champion", "approval"}
    return Policy(
        **{
            name: None
            for name, f in Policy.model_fields.items()
            if f.default is not None and name not in kept and f.default != ()
        }
    )


@dataclass
class Registry:
    """A registry called `adult`, and decisions of the real gate to register with."""

    folder: Path
    uri: str
    holdout: Path
    models: Callable[..., Path]
    policy: Policy = field(default_factory=plain_policy)
    requested_by: str = "trainer"

    def store(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def evaluation(self, depth: int = 2, **changes: Any) -> Evaluation:
        """What `evaluate` would have measured, against the champion there is."""
        model = self.models(depth=depth)
        better = Estimate(value=0.1, low=0.05, high=0.15)
        found = checked_champion("adult", tracking_uri=self.uri).version
        others = ["majority", "linear", *(["champion"] if found else [])]
        digest = digest_of(model)
        rows = Dataset.of(self.holdout).content
        fields: dict[str, Any] = {
            "task": "binary",
            "metric": "accuracy",
            "higher_is_better": {"accuracy": True},
            "dataset": rows,
            "model": digest,
            "rows": 200,
            "confidence": 0.95,
            "resamples": 100,
            "seed": 0,
            "champion": found.uri if found else "",
            "champion_state": "compared" if found else "none",
            "commit": "abc123",
            "policy": self.policy.digest(),
            "scores": tuple(
                Scores(
                    name=name,
                    description="",
                    model=digest,
                    dataset=rows,
                    metrics={"accuracy": better},
                )
                for name in ("candidate", *others)
            ),
            "comparisons": tuple(
                Comparison(against=name, metric="accuracy", advantage=better) for name in others
            ),
        }
        return Evaluation(**(fields | changes))

    def decided(self, depth: int = 2) -> tuple[Decision, Evaluation]:
        """The gate's decision on a model, made now."""
        evaluation = self.evaluation(depth)
        return decide(evaluation, policy=self.policy), evaluation

    def register(
        self, decision: Decision, evaluation: Evaluation, *, depth: int = 2, **changes: Any
    ) -> Registration:
        fields: dict[str, Any] = {
            "policy": self.policy,
            "image": "",
            "card": CardSpec(intended_use="To be tested."),
            "requested_by": self.requested_by,
        }
        return register(
            self.models(depth=depth),
            decision=decision,
            evaluation=evaluation,
            name="adult",
            tracking_uri=self.uri,
            holdout=self.holdout,
            grounds=Grounds(**(fields | changes)),
        )

    def registered(self, depth: int = 2) -> tuple[Registration, Decision]:
        decision, evaluation = self.decided(depth)
        return self.register(decision, evaluation, depth=depth), decision

    def promote(self, version: int) -> None:
        """Do in the registry what the end of a rollout does."""
        actor = Actor(name=CANARY)
        set_champion("adult", version, tracking_uri=self.uri, event="promoted", actor=actor)

    def order(self, registration: Registration, decision: Decision, **changes: Any) -> Order:
        """What a rollout of a version is asked for with."""
        fields: dict[str, Any] = {
            "registration": registration,
            "decision": decision,
            "deployment": {"port": 0},
            "holdout": str(self.holdout),
            "tracking_uri": self.uri,
            "policy": self.policy.model_dump(mode="json"),
        }
        return Order(**(fields | changes))

    def deploy(self, registration: Registration, decision: Decision, **changes: Any) -> Rollout:
        """Ask for a rollout, which is refused before anything is brought up."""
        home = self.folder / "home"
        outputs = Outputs(home / "deployment", home / "rollout", home / "report")
        order = self.order(registration, decision, **changes)
        return release.deploy(order, home=home, run="r", outputs=outputs)

    def pack(self, registration: Registration) -> Path:
        """The evidence as the artifact store has it."""
        (found,) = self.folder.glob(f"artifacts/**/{folder_of(registration.decision)}")
        return found

    def model_tags(self) -> dict[str, str]:
        return dict(self.store().get_registered_model("adult").tags)


@pytest.fixture
def registry(
    models: Callable[..., Path], write_holdout: Callable[..., Path], uri: str, tmp_path: Path
) -> Registry:
    return Registry(folder=tmp_path, uri=uri, holdout=write_holdout(), models=models)


@pytest.fixture
def keypair(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """Return what writes a private and a public key by a name, PEM."""
    return lambda name: write_keypair(tmp_path, name)
