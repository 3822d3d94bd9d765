"""Every time that a version began to serve, and whether it was approved at that time."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.gate.approval import ApprovalSpec, Judgement, judge
from penstock.records.approval import Approval
from penstock.records.decision import Decision
from penstock.records.evidence import AuditEntry
from penstock.registry import approvals, champion_history, versions
from penstock.registry.audit import ADMITTED, AuditLog
from penstock.registry.champion_history import PROMOTED, Move
from penstock.registry.identity import on_platform
from penstock.registry.versions import Version


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


def servings(log: AuditLog, version: Version) -> tuple[Serving, ...]:
    """Return every serving of a version that the log records, in the order of the chain.

    A move that was withdrawn is none. One that was begun may have happened. One that was done is
    counted by the entry that began it, unless there is no such entry.
    """
    moves = {each.digest: each for each in champion_history.moves(log)}
    begun = [each for each in moves.values() if not each.done]
    found = []
    for digest, entry in zip(log.digests, log.entries, strict=True):
        move = moves.get(digest)
        ours = move.version == version.version if move else entry.uri == version.uri
        counted = entry.event == ADMITTED
        if move is not None:
            counted = not move.done or not any(
                each.version == move.version and log.descends(digest, each.digest) for each in begun
            )
        if ours and counted:
            found.append(Serving(entry, digest, move))
    return tuple(found)


def judge_people(
    version: Version,
    given: tuple[Approval, ...],
    *,
    spec: ApprovalSpec | None,
    log: AuditLog,
    serving: Serving,
) -> Judgement:
    """Judge whether people had approved a version when it began to serve, by the chain.

    Later approvals and rejections do not count, and expiry is judged at the entry's own time. A
    version that was promoted before may serve again as long as nobody has rejected it; a version
    that was not may not be rolled back to.

    Args:
        version: The version.
        given: Its approvals and rejections, as `approvals.read` returns them.
        spec: The approvals that the policy requires; None: no policy was kept.
        log: Of the registered model.
        serving: Where it began to serve.
    """
    there = log.before(serving.digest)
    required = spec or ApprovalSpec(people=0)

    def judged(people: int) -> Judgement:
        return judge(
            approvals.given_before(given, log=log, digest=serving.digest),
            spec=required.model_copy(update={"people": people}),
            model=version.model,
            decision=version.tags.get(versions.DECISION_DIGEST, ""),
            trained_by=version.tags.get(versions.TRAINED_BY, ""),
            now=serving.entry.time,
            platform=on_platform(),
        )

    # Somebody may reject although the policy requires no approval.
    rejected = judged(max(1, required.people))
    if rejected.rejected:
        return rejected
    found = judged(required.people)
    enters = serving.entry.event in (PROMOTED, ADMITTED)
    returns = serving.entry.event != PROMOTED and _was_promoted(there, version)
    if enters and (found.approved or not returns):
        return found
    if returns:
        sentence = f"It was promoted before. {found.sentence}"
        return Judgement(approved=True, rejected=False, sentence=sentence, by=found.by)
    sentence = "It was not promoted before, so it could not be rolled back to."
    return Judgement(approved=False, rejected=False, sentence=sentence, by=found.by)


def compared_with(
    decision: Decision, version: Version, *, log: AuditLog, serving: Serving
) -> tuple[str, str] | None:
    """Return the champion that the decision compared with, and the one when it was promoted.

    None where nothing is to be compared: it was champion itself, was not promoted, or the decision
    is of an earlier release, which did not say.
    """
    move = serving.move
    if move is None or serving.entry.event != PROMOTED or not decision.code:
        return None
    before = champion_history.champions(log.before(serving.digest), alias=move.before)
    champion = before[-1] if before else move.before
    if champion == version.version:
        return None
    now = "" if champion is None else f"models:/{version.name}/{champion}"
    return decision.champion, now


def _was_promoted(there: AuditLog, version: Version) -> bool:
    if versions.EVIDENCE_DIGEST not in version.tags:
        # From before there was an audit log: unknown.
        return True
    return any(
        move.version == version.version and move.entry.event == PROMOTED
        for move in champion_history.moves(there)
    )
