"""How a release ended, from what its process left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, get_args

from penstock.processes import logs
from penstock.records.run_end import Outcome
from penstock.redaction import redact

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Ending(NamedTuple):
    """How a release ended.

    Attributes:
        outcome: The outcome.
        reason: Why, in sentences.
        link: Where its page is; empty: it has none.
        posted: Whether the run has notified people itself, as one on Kubeflow does.
    """

    outcome: Outcome
    reason: str
    link: str = ""
    posted: bool = False


def ending(code: int, summary: Path, *, log: Path) -> Ending:
    """Return how a release ended whose process was seen to end.

    It was released only if its exit code and its summary both say so.

    Args:
        code: The exit code.
        summary: What the run writes once it has ended: JSON with outcome, reason, link and
            whether it notified people.
        log: What it printed.
    """
    found = summarised(summary)
    if found is None:
        last = redact(logs.tail(log, lines=1))
        return Ending("failed", f"It ended with exit code {code}. Its log ends: {last}")
    if (found.outcome == "released") != (code == 0):
        reason = f"Its exit code {code} does not fit its outcome, {found.outcome}: {found.reason}"
        return Ending("failed", reason, found.link, found.posted)
    return found


def summarised(summary: Path) -> Ending | None:
    """Return how a run says that it ended; None: it does not say."""
    found = _read(summary)
    for outcome in OUTCOMES:
        if found.get("outcome") == outcome:
            reason, link = found.get("reason") or "", found.get("link") or ""
            posted = found.get("notified") is True
            return Ending(outcome, redact(str(reason)), str(link), posted)
    return None


def _read(summary: Path) -> dict[str, Any]:
    try:
        found = json.loads(summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
