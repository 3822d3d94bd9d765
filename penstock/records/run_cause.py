"""Why a run of a pipeline ended, from the record of the step that ended it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import InputError
from penstock.records.approval import ApprovalOutcome
from penstock.records.decision import Decision
from penstock.records.monitoring import Verdict
from penstock.records.quality import Validation
from penstock.records.rollout import Rollout
from penstock.records.run_end import Outcome


@dataclass(frozen=True)
class Cause:
    """What a record says of how a run ended.

    Attributes:
        outcome: What the run came to.
        reason: Why, in sentences.
        version: The registered version, if the record is of one.
    """

    outcome: Outcome
    reason: str
    version: int | None = None


def cause_of(record: Path) -> Cause:
    """Return why a run ended, from the record of the step that ended it.

    Args:
        record: The file of a decision, a validation, a rollout, an approval's outcome or a verdict.

    Raises:
        InputError: If it is none of these.
    """
    try:
        kind = json.loads(record.read_text(encoding="utf-8")).get("record")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"not a record: {error}", where=str(record)) from error
    if kind == f"penstock/{Decision.KIND}":
        return Cause("refused", Decision.read(record).grounds())
    if kind == f"penstock/{Validation.KIND}":
        return Cause("refused", Validation.read(record).reason())
    if kind == f"penstock/{Rollout.KIND}":
        rollout = Rollout.read(record)
        return Cause("rolled_back", rollout.reason, rollout.candidate)
    if kind == f"penstock/{ApprovalOutcome.KIND}":
        approval = ApprovalOutcome.read(record)
        return Cause("refused", approval.reason(), approval.version)
    if kind == f"penstock/{Verdict.KIND}":
        return Cause("failed", Verdict.read(record).reason())
    raise InputError(
        f"a decision, validation or rollout record is needed, this is {kind!r}", where=str(record)
    )


def reason_of(record: Path) -> str:
    """Return the reason of a decision, validation, rollout, approval or verdict, from its record.

    Raises:
        InputError: If it is none of these.
    """
    return cause_of(record).reason
