"""What follows degraded performance: recall first, then retraining. The rules are pure.

The labelled rows since the change are divided by a hash of the request: one half chooses among the
former champions, and the gate judges the chosen one on the other. On one and the same half the gate
would flatter whatever won there.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

from penstock.metrics.bounds import MIN_CLASS_ROWS
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.records.intervention import Comparison, Intervention, RunStatus
from penstock.records.monitoring import Action, ActionKind, Looked, MonitorState, Verdict

_SALT = b"penstock-recall"
"""Captures are sampled by a hash of the request too: another one, or a half would be empty."""


def half_of(request: str) -> Literal["choice", "gate"]:
    """Return the half that a request's rows are in.

    Example:
        >>> sorted({half_of(f"order-{number}") for number in range(20)})
        ['choice', 'gate']
    """
    digest = hashlib.blake2b(request.encode(), digest_size=8, key=_SALT).digest()
    return "gate" if digest[0] & 1 else "choice"


def begun(verdict: Verdict, looked: Looked) -> Intervention:
    """Return what a verdict begins, as it is written down before it does.

    Args:
        verdict: One that `begins` something, so it is of a version.
        looked: What its look saw.
    """
    assert verdict.version is not None
    return Intervention(
        identity=f"{verdict.number:08d}-version-{verdict.version}",
        number=verdict.number,
        version=verdict.version,
        reason=verdict.headline,
        since=change_of(verdict, looked),
        began=verdict.time,
        look=verdict.number,
    )


def change_of(verdict: Verdict, looked: Looked | None) -> datetime:
    """Return since when the rows are what they are now, for what is chosen or trained on them.

    An alarm may have begun earlier, by a signal that moved first: rows since then would be of two
    kinds.

    Args:
        verdict: One that is drifted or degraded.
        looked: The last look that had rows; None: there was none.
    """
    changed = looked.drift.changed if looked is not None and looked.drift else None
    return changed or verdict.since or verdict.time


def over(intervention: Intervention, state: MonitorState) -> str:
    """Return why an intervention that has no run under way is not needed any more; empty: it is.

    Args:
        intervention: What is under way.
        state: The monitor's, after a look.
    """
    if intervention.stage not in ("compare", "wait") or state.verdict is None:
        return ""
    if state.version is not None and state.version != intervention.version:
        return f"Version {state.version} serves now, so nothing is done about the one before."
    if state.verdict.kind in ("healthy", "watch"):
        return "It recovered by itself, so nothing is done."
    return ""


def after_comparison(
    intervention: Intervention, found: Comparison, *, spec: MonitoringSpec, now: datetime
) -> Intervention:
    """Return the next stage: a recall, else a retraining, else to wait for labels.

    Args:
        intervention: What is under way.
        found: How former champions and labels stand.
        spec: The section `monitoring`.
        now: The time.
    """
    if found.version is not None and found.version not in intervention.refused:
        missing = _missing_for_recall(found, spec=spec)
        if not missing:
            return _running(intervention, "recall", found, now=now)
        # A class may be too rare for ever: what a retraining takes is not waited for any longer.
        if found.gate < spec.recall_rows or found.labelled < spec.retrain_rows:
            waits = f"{found.reason} It is suggested to recall version {found.version}. {missing}"
            return _waiting(intervention, found, waits)
        found = found.model_copy(update={"reason": f"{found.reason} {missing}"})
    rows = spec.retrain_rows - found.labelled
    if rows <= 0:
        return _running(intervention, "retrain", found, now=now)
    waits = (
        f"{_grounds(intervention, found)} Retraining takes {spec.retrain_rows:,} labelled rows "
        f"since the change; {found.labelled:,} are there, {rows:,} are missing."
    )
    return _waiting(intervention, found, waits)


def _missing_for_recall(found: Comparison, *, spec: MonitoringSpec) -> str:
    """Return what the gate lacks to judge a recall, in a sentence; empty: nothing."""
    rows = spec.recall_rows - found.gate
    if rows > 0:
        return (
            f"The gate needs {rows:,} more labelled rows of its half of them ({found.gate:,} of "
            f"{spec.recall_rows:,} are there)."
        )
    if found.rarest is not None and found.rarest < MIN_CLASS_ROWS:
        return (
            f"The gate needs {MIN_CLASS_ROWS} rows of each class in its half of the labelled rows; "
            f"of the rarest {found.rarest} are there."
        )
    return ""


def _grounds(intervention: Intervention, found: Comparison) -> str:
    if not intervention.refused:
        return found.reason
    names = ", ".join(map(str, intervention.refused))
    return f"The recall of version {names} was not let through."


def _running(
    intervention: Intervention,
    stage: Literal["recall", "retrain"],
    found: Comparison,
    *,
    now: datetime,
) -> Intervention:
    return intervention.model_copy(
        update={
            "stage": stage,
            "run": f"{now.astimezone():%Y-%m-%dT%H-%M-%S}.{stage}",
            "recall": found.version if stage == "recall" else None,
            "grounds": found.reason if stage == "recall" else _grounds(intervention, found),
            "waits": "",
        }
    )


def _waiting(intervention: Intervention, found: Comparison, waits: str) -> Intervention:
    return intervention.model_copy(
        update={"stage": "wait", "grounds": found.reason, "waits": waits, "run": ""}
    )


def action_of(
    intervention: Intervention, ended: RunStatus, *, number: int, now: datetime
) -> Action:
    """Return what was done, in words, once a run has ended.

    Args:
        intervention: What was under way.
        ended: How its run ended.
        number: The newest look.
        now: The time.
    """
    what = (
        f"Recall of version {intervention.recall}"
        if intervention.stage == "recall"
        else f"Retraining on rows since {intervention.since:%Y-%m-%d %H:%M} UTC"
    )
    kind: ActionKind
    if ended.state == "released":
        kind = "recalled" if intervention.stage == "recall" else "retrained"
        how = f"version {ended.version} is the champion"
    elif ended.state == "failed":
        kind, how = "failed", "it failed"
    else:
        kind = "refused"
        how = "rolled back" if ended.state == "rolled_back" else "refused"
        how += f", and version {intervention.version} serves on"
    reason = f"{what}: {how}. {intervention.reason} {intervention.grounds} {ended.reason}"
    return Action(kind=kind, time=now, number=number, reason=" ".join(reason.split()))


def after_refusal(intervention: Intervention, ended: RunStatus) -> Intervention | None:
    """Return what follows a run that was not let through: after a recall, a retraining; else None.

    Args:
        intervention: What was under way.
        ended: How its run ended.
    """
    if intervention.stage != "recall" or ended.state not in ("refused", "rolled_back"):
        return None
    assert intervention.recall is not None
    refused = (*intervention.refused, intervention.recall)
    return intervention.model_copy(
        update={"stage": "compare", "refused": refused, "recall": None, "run": "", "waits": ""}
    )
