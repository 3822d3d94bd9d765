"""The decisions that a registry keeps, each with what it was made on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from penstock import tracking
from penstock.common import files
from penstock.errors import IntegrityError, PenstockError
from penstock.gate.evaluation import Evaluation
from penstock.gate.history import GROUNDS, PastDecision
from penstock.gate.policy import Policy
from penstock.records.decision import Decision
from penstock.records.operations import Operations
from penstock.registry import versions
from penstock.registry.evidence import fetch_pack
from penstock.registry.versions import Version, answers


class Unread(NamedTuple):
    """A decision that cannot be judged again.

    Attributes:
        name: What it is called.
        reason: Why, in a sentence.
    """

    name: str
    reason: str


def of_registry(name: str, *, tracking_uri: str) -> tuple[list[PastDecision], list[Unread]]:
    """Return the decisions on the versions of a registered model, the newest first.

    A decision that refused a model let nothing into the registry, so that none of these is here.

    Args:
        name: The registered model.
        tracking_uri: The MLflow store.

    Returns:
        Those that can be judged again, and those that cannot: registered before evidence was kept,
        altered since, or written by another release in a form that this one does not read.

    Raises:
        ServiceError: If the registry or its artifact store does not answer.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        found = list(versions.newest_first(store, name))
    read: list[PastDecision] = []
    unread: list[Unread] = []
    for version in found:
        with TemporaryDirectory() as place:
            pack, _ = fetch_pack(version, tracking_uri=tracking_uri, into=Path(place))
            try:
                read.append(_read(version, pack))
            except PenstockError as error:
                unread.append(Unread(version.uri, str(error)))
    return read, unread


def _read(version: Version, pack: Path | None) -> PastDecision:
    if pack is None:
        raise IntegrityError("no evidence is kept with it")
    decision = Decision.read(pack / "decision.json")
    _require(
        "decision",
        version.tags.get(versions.DECISION_DIGEST, ""),
        decision.digest(),
        where="evidence",
    )
    require_grounds(decision, {kind: pack / f"{kind}.json" for kind in GROUNDS}, where="evidence")
    return PastDecision(
        name=version.uri,
        decision=decision,
        evaluation=Evaluation.read(pack / "evaluation.json"),
        policy=_policy(pack / "policy.json") if decision.policy else None,
        operations=Operations.read(pack / "operations.json") if decision.operations else None,
    )


def _policy(path: Path) -> Policy:
    return Policy.decided_on(json.loads(path.read_text(encoding="utf-8")), where=path.name)


def _digest(path: Path) -> str:
    """Return the digest of a record as it is written, whichever release wrote it."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return files.digest_of_text(files.canonical_json(raw))


def require_grounds(decision: Decision, places: Mapping[str, Path], *, where: str) -> None:
    """Return only if files hold what a decision was made on.

    Args:
        decision: The decision.
        places: Files, by which of `GROUNDS` they hold.
        where: What keeps them, for the error.

    Raises:
        IntegrityError: If one is absent, or another than the one that the decision names.
    """
    for kind, path in places.items():
        expected = str(getattr(decision, kind))
        if expected:
            _require(kind, expected, _digest(path), where=where)


def _require(kind: str, expected: str, found: str, *, where: str) -> None:
    if found != expected:
        raise IntegrityError(
            f"the {kind} that was decided on is {expected or 'not named'}, the one that is kept is "
            f"{found or 'not there'}",
            where=where,
            remedy="It was altered or made again since; of a registered version penstock verify "
            "says what does not hold.",
        )
