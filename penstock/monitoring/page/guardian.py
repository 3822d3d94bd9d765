"""The guardian on the monitor's page: what a champion is held to, what was seen, what was done."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.monitoring.guardian.harm import counts_of
from penstock.monitoring.settings.monitoring import GuardianSpec
from penstock.monitoring.verdict import words
from penstock.records.guard import Guard, GuardLimit
from penstock.records.monitoring import Action, MonitorState
from penstock.reports.page import (
    Cell,
    Section,
    Tone,
    heading,
    muted,
    paragraph,
    table,
    warning,
)
from penstock.reports.words import percent, plain

_TONES: dict[str, Tone] = {"returned": "warn", "refused": "warn", "failed": "bad"}
_HEADERS = ["What", "Previous champion", "No harm up to", "Seen since", "Allowed beside its error"]


def guardian(state: MonitorState, *, spec: GuardianSpec) -> Section:
    """Return what the guardian guards, how the champion fares, and what it did.

    Args:
        state: The monitor's.
        spec: The section `monitoring.guardian`.
    """
    guard = state.guard
    if spec.mode == "never":
        body = paragraph("Nobody guards the champion: monitoring.guardian.mode is never.")
    elif guard is None:
        body = paragraph(
            "It has not read yet what the service answers. It reads that every "
            f"{words.period(spec.seconds)} while penstock monitor runs."
        )
    else:
        body = _guarded(guard, spec)
    return Section("Guardian", body + _returns(state))


def _guarded(guard: Guard, spec: GuardianSpec) -> str:
    body = _harm(guard)
    if guard.limits:
        body += paragraph(
            f"Version {guard.version} is held against version {guard.former}, the champion before "
            f"it, since {words.moment(guard.since)}: for as long as it is the champion. It "
            f"answered {guard.seen.requests:,} requests since."
        )
        rows = [_row(limit, guard) for limit in guard.limits]
        body += table(_HEADERS, rows, numeric=range(1, len(_HEADERS)))
        body += _evidence(guard, spec)
    else:
        body += paragraph(
            f"Version {guard.version} is guarded against nothing. It answered "
            f"{guard.seen.requests:,} requests since {words.moment(guard.since)}."
        )
    if guard.open:
        body += heading("What is not guarded") + "".join(map(paragraph, guard.open))
    return body


def _harm(guard: Guard) -> str:
    harm = guard.harm
    if harm is None:
        return ""
    said = f"Harm was shown at {words.moment(harm.time)}. {harm.reason}"
    if guard.tries:
        again = f" The next try is at {words.moment(guard.next_try)}." if guard.next_try else ""
        said += f" Returns that were tried and did not succeed: {guard.tries}.{again}"
    elif not harm.returns:
        said += " Nothing is returned by itself. Go back with: penstock rollback."
    return warning(said)


def _row(limit: GuardLimit, guard: Guard) -> list[str | Cell]:
    rows, amount = counts_of(limit, guard.seen)
    what = {
        "errors": "Requests that its server fails",
        "latency": f"Answers that take {limit.line:.3g} s or more",
        "loss": "Mean loss of labelled requests",
    }[limit.signal]
    return [
        Cell(what, strong=True),
        f"{_size(limit, limit.expected)} of {limit.reference:,}",
        _size(limit, limit.greatest),
        f"{_size(limit, amount / rows)} of {rows:,}" if rows else "none yet",
        _size(limit, limit.tolerance),
    ]


def _size(limit: GuardLimit, value: float) -> str:
    return plain(value) if limit.signal == "loss" else percent(value)


def _evidence(guard: Guard, spec: GuardianSpec) -> str:
    gathered = (
        f"The logarithm of the evidence for harm is {plain(guard.log_evidence)}; harm is shown "
        f"from {plain(guard.threshold)} on. "
        if guard.detector is not None
        else ""
    )
    follows = (
        f"Then version {guard.former} serves again, by itself and once."
        if spec.mode == "automatic"
        else "Then people are notified, and nothing is returned by itself."
    )
    return muted(
        f"{gathered}{follows} Of healthy months at most {percent(spec.false_returns)} end so. What "
        "was seen is a plain average since the promotion; the test weighs it over time."
    )


def _returns(state: MonitorState) -> str:
    count = state.totals.actions.get("returned", 0)
    if not count:
        return heading("Returns") + paragraph("It has returned no champion.")
    recent = [one for one in state.actions if one.kind == "returned"]
    said = f"Returns since the monitor began: {count}."
    return heading("Returns") + paragraph(said) + actions_table(recent)


def actions_table(actions: Sequence[Action]) -> str:
    """Return what was done, the newest first, as a table; empty where there is nothing."""
    if not actions:
        return ""
    rows: list[list[str | Cell]] = [
        [
            words.moment(one.time),
            Cell(one.kind, _TONES.get(one.kind, "plain"), strong=True),
            str(one.number),
            one.reason,
        ]
        for one in reversed(actions)
    ]
    return table(["Time", "What", "Look", "Why"], rows, numeric=(2,))
