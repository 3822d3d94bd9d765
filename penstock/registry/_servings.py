"""Every time that a version began to serve, and whether it was let in by what stood then."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.gate.approval import ApprovalSpec, Judgement, judge
from penstock.records.approval import Approval
from penstock.records.decision import Decision
from penstock.records.evidence import AuditEntry
from penstock.registry import _standing, approvals, versions
from penstock.registry._standing import PROMOTED, Move
from penstock.registry.audit import Trail
from penstock.registry.identity import on_platform
from penstock.registry.versions import Version

ADMITTED = "admitted"
"""Event: a version is given traffic, before it is champion or when it is brought up again."""


@dataclass(frozen=True)
class Serving:
    """An entry by which a version began to serve.

    Attributes:
        entry: The entry.
        digest: Its digest.
        move: What it did to the champion; None: nothing.
    """

    entry: AuditEntry
    digest: str
    move: Move | None

    @property
    def name(self) -> str:
        """What is judged, for a table."""
        return f"served: {self.entry.event}"

    @property
    def when(self) -> str:
        """When it was, by the clock of who wrote it."""
        return f"{self.entry.time:%Y-%m-%d %H:%M} UTC"


def servings(trail: Trail, version: Version) -> tuple[Serving, ...]:
    """Return every serving of a version that the trail tells of, in the order of the chain.

    A move that was withdrawn is none. One that was begun may have happened. One that was done is
    told by the entry that began it, unless there is no such entry.
    """
    moves = {each.digest: each for each in _standing.moves(trail)}
    begun = [each for each in moves.values() if not each.done]
    found = []
    for digest, entry in zip(trail.digests, trail.entries, strict=True):
        move = moves.get(digest)
        ours = move.version == version.version if move else entry.uri == version.uri
        counted = entry.event == ADMITTED
        if move is not None:
            counted = not move.done or not any(
                each.version == move.version and trail.descends(digest, each.digest)
                for each in begun
            )
        if ours and counted:
            found.append(Serving(entry, digest, move))
    return tuple(found)


def judge_people(
    version: Version,
    words: tuple[Approval, ...],
    *,
    spec: ApprovalSpec | None,
    trail: Trail,
    serving: Serving,
) -> Judgement:
    """Say whether people had let a version in where it began to serve, by the chain.

    What was said later neither helps nor harms, and expiry is told by the entry's own time. A
    version that was promoted before may come back as long as nobody has rejected it; one that was
    not may not come by a way that is for going back.

    Args:
        version: The version.
        words: What people said of it, as `approvals.read` returns it.
        spec: What the policy asks for; None: no policy was kept.
        trail: Of the registered model.
        serving: Where it began to serve.
    """
    there = trail.before(serving.digest)
    asked = spec or ApprovalSpec(people=0)

    def judged(people: int) -> Judgement:
        return judge(
            approvals.said_before(words, trail=trail, digest=serving.digest),
            spec=asked.model_copy(update={"people": people}),
            model=version.model,
            decision=version.tags.get(versions.DECISION_DIGEST, ""),
            trained_by=version.tags.get(versions.TRAINED_BY, ""),
            now=serving.entry.time,
            platform=on_platform(),
        )

    # Somebody may object although the policy asks nobody.
    objected = judged(max(1, asked.people))
    if objected.rejected:
        return objected
    found = judged(asked.people)
    enters = serving.entry.event in (PROMOTED, ADMITTED)
    returns = serving.entry.event != PROMOTED and _was_promoted(there, version)
    if enters and (found.approved or not returns):
        return found
    if returns:
        sentence = f"It was promoted before. {found.sentence}"
        return Judgement(approved=True, rejected=False, sentence=sentence, by=found.by)
    sentence = "It was not promoted before, so there was nothing to go back to."
    return Judgement(approved=False, rejected=False, sentence=sentence, by=found.by)


def compared_with(
    decision: Decision, version: Version, *, trail: Trail, serving: Serving
) -> tuple[str, str] | None:
    """Return the champion that the decision compared with, and the one when it was promoted.

    None where nothing is to be compared: it was champion itself, was not promoted, or the decision
    is of an earlier release, which did not say.
    """
    move = serving.move
    if move is None or serving.entry.event != PROMOTED or not decision.code:
        return None
    before = _standing.champions(trail.before(serving.digest), alias=move.before)
    champion = before[-1] if before else move.before
    if champion == version.version:
        return None
    now = "" if champion is None else f"models:/{version.name}/{champion}"
    return decision.champion, now


def _was_promoted(there: Trail, version: Version) -> bool:
    if versions.EVIDENCE_DIGEST not in version.tags:
        # From before there was a trail: whether it was, nobody can tell.
        return True
    return any(
        move.version == version.version and move.entry.event == PROMOTED
        for move in _standing.moves(there)
    )
