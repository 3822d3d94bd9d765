"""The end of a run in words, and the same as `summary.json`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from penstock.pipelines.outcomes import VERDICTS
from penstock.pipelines.outputs import INDEX, SUMMARY
from penstock.pipelines.run_result import RunResult
from penstock.pipelines.view import beside_lines, rule_lines
from penstock.records.dataset import Dataset, sorted_by_risk
from penstock.records.run_end import Outcome
from penstock.redaction import redact
from penstock.rollout.smoke import curl_line
from penstock.rollout.words import headline, last_findings

_LABEL = 13


def summary(result: RunResult) -> str:
    """Return the end of a run in words: data version, gate, version, address, reports."""
    return redact("\n".join(_lines(result)) + "\n")


def write_summary(result: RunResult, *, also: Path | None = None) -> None:
    """Write `summary.json` into the run's folder: the same for machines.

    Args:
        result: How the run ended.
        also: A file for who began the run; see `write_ending`.
    """
    from penstock.common import files

    files.write_text(
        result.folder / SUMMARY,
        json.dumps(
            {
                "outcome": result.outcome,
                "reason": redact(result.reason),
                "settings": list(map(redact, result.settings)),
                "data_version": result.dataset.content if result.dataset else None,
                "assumptions": [
                    assumption.model_dump() for assumption in result.dataset.assumptions
                ]
                if result.dataset
                else [],
                "quarantine": _quarantine(result),
                "split": result.split.counts() if result.split else None,
                "decision": result.decision.digest() if result.decision else None,
                "registered": result.registration.uri if result.registration else None,
                "rollout": result.rollout.outcome if result.rollout else None,
                "served": result.deployment.url if result.deployment else None,
                "reports": {name: str(path) for name, path in result.reports.items()},
                "steps": [asdict(time) for time in result.times],
            },
            indent=2,
        )
        + "\n",
    )
    if also is not None:
        link = (result.home / INDEX).as_uri()
        write_ending(also, outcome=result.outcome, reason=result.reason, link=link, notified=False)


def write_ending(path: Path, *, outcome: Outcome, reason: str, link: str, notified: bool) -> None:
    """Write how a run ended into a file, as JSON, for who began it.

    Args:
        path: The file.
        outcome: How it ended.
        reason: Why.
        link: Where its page is.
        notified: Whether the run has notified people itself, as one on Kubeflow does.

    Raises:
        ServiceError: If it cannot be written.
    """
    from penstock.common import files
    from penstock.common.disk import writing

    ending = {"outcome": outcome, "reason": redact(reason), "link": link, "notified": notified}
    with writing(path):
        files.write_text(path, json.dumps(ending, indent=2) + "\n")


def _lines(result: RunResult) -> Iterator[str]:
    yield ""
    yield f"{VERDICTS[result.outcome]}  {result.reason}"
    yield ""
    if result.dataset is not None:
        data = result.dataset
        yield _entry("Dataset version", data.version)
        yield _entry("", f"{data.rows:,} rows, {len(data.columns)} columns")
        for note in data.notes:
            yield _entry("", note)
        yield from _assumed(data)
    yield from _parts(result)
    reused = [time.step.replace("_", " ") for time in result.times if time.how == "reused"]
    if reused:
        yield _entry("Reused", f"{', '.join(reused)} (run every step with --fresh)")
    if result.settings:
        yield _entry("Set", ", ".join(result.settings))
    yield from _gate(result)
    if result.registration is not None:
        yield _entry("Registered", result.registration.uri)
    yield from _rollout(result)
    if result.outcome == "released" and result.deployment and result.holdout:
        yield _entry("Served at", f"{result.deployment.url}  (end it with: penstock stop)")
        yield _entry(
            "Try it", curl_line(result.deployment, holdout=result.holdout, access=result.access)
        )
    yield _entry("Pages", f"{_near(result.home / INDEX)}  (this run and all before it)")
    for name, path in result.reports.items():
        yield _entry("Reports" if name == next(iter(result.reports)) else "", _near(path))
    if result.evaluation is not None:
        yield _entry("MLflow UI", _mlflow_ui(result))
    yield _entry("Log", _near(result.log))


def _quarantine(result: RunResult) -> dict[str, Any] | None:
    apart = result.validation.quarantine if result.validation else None
    return {**apart.model_dump(), "share": apart.share} if apart else None


def _assumed(data: Dataset) -> Iterator[str]:
    """Yield what was assumed of how the table is to be read, where values may be wrong for it."""
    risky = [
        assumption for assumption in sorted_by_risk(data.assumptions) if assumption.risk != "low"
    ]
    for place, assumption in enumerate(risky):
        text = f"{assumption.text} ({assumption.risk} risk; source.{assumption.setting})"
        yield _entry("" if place else "Assumed", text)


def _parts(result: RunResult) -> Iterator[str]:
    """Yield which rows were taken out of the data, and how the rest was split."""
    split = result.split
    if result.validation is not None and result.validation.quarantine is not None:
        yield _entry("Quarantine", result.validation.quarantine.sentence())
    if split is None:
        return
    yield _entry("Split", split.line())
    if split.duplicate_rows:
        yield _entry("", split.repeats_text)
    for note in split.notes:
        yield _entry("", note)


def _gate(result: RunResult) -> Iterator[str]:
    if result.validation is not None and not result.validation.passed:
        yield _entry("Data gate", result.validation.reason())
    if result.decision is None:
        return
    yield _entry("Gate", result.decision.reason())
    for line in rule_lines(result.decision):
        yield _entry("", line)
    for number, line in enumerate(beside_lines(result.evaluation)):
        yield _entry("" if number else "By class", line)


def _rollout(result: RunResult) -> Iterator[str]:
    if result.rollout is None:
        return
    yield _entry("Rollout", headline(result.rollout))
    for finding in last_findings(result.rollout):
        yield _entry("", f"{finding.verdict:<14} {finding.rule}: {finding.sentence}")


def _entry(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}} {text}"


def _mlflow_ui(result: RunResult) -> str:
    if result.tracking_uri.startswith(("http://", "https://")):
        return result.tracking_uri
    beside = Path(sys.executable).parent / "mlflow"
    command = _near(beside) if beside.exists() else "mlflow"
    return f"{command} ui --backend-store-uri {shlex.quote(result.tracking_uri)}"


def _near(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
