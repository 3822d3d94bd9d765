"""What a run left, said at its end."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.pipelines.run import RunResult

_VERDICTS = {"released": "RELEASED", "refused": "REFUSED", "failed": "FAILED"}
_LABEL = 13


def summary(result: RunResult, *, target: str) -> str:
    """Return the end of a run in words: data version, gate, version, address, reports.

    Args:
        result: How the run ended.
        target: The column that is predicted; it is left out of the example request.
    """
    return "\n".join(_lines(result, target=target)) + "\n"


def write_summary(result: RunResult) -> None:
    """Write `summary.json` into the run's folder: the same for machines."""
    from penstock import files

    files.write_text(
        result.folder / "summary.json",
        json.dumps(
            {
                "outcome": result.outcome,
                "reason": result.reason,
                "data_version": result.dataset.content if result.dataset else None,
                "decision": result.decision.digest() if result.decision else None,
                "registered": result.registration.uri if result.registration else None,
                "served": result.deployment.url if result.deployment else None,
                "reports": {name: str(path) for name, path in result.reports.items()},
            },
            indent=2,
        )
        + "\n",
    )


def request_line(result: RunResult, *, target: str) -> str:
    """Return a `curl` line that asks the served model about one row of the holdout."""
    if result.deployment is None or result.holdout is None:
        return ""
    row = _example_row(result.holdout, target=target)
    body = json.dumps({"instances": [row]}, ensure_ascii=False, allow_nan=False)
    url = f"{result.deployment.url}/v1/models/{result.deployment.service}:predict"
    return f"curl -s {url} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def _lines(result: RunResult, *, target: str) -> Iterator[str]:
    yield ""
    yield f"{_VERDICTS[result.outcome]}  {result.reason}"
    yield ""
    if result.dataset is not None:
        data = result.dataset
        yield _entry("Data version", data.content)
        yield _entry("", f"{data.rows:,} rows, {len(data.columns)} columns")
        for note in data.notes:
            yield _entry("", note)
    yield from _gate(result)
    if result.registration is not None:
        yield _entry("Registered", result.registration.uri)
    if result.outcome == "released" and result.deployment is not None:
        yield _entry("Served at", f"{result.deployment.url}  (end it with: penstock stop)")
        yield _entry("Try it", request_line(result, target=target))
    for name, path in result.reports.items():
        yield _entry("Reports" if name == next(iter(result.reports)) else "", _near(path))
    if result.evaluation is not None:
        yield _entry("MLflow UI", _mlflow_ui(result))
    yield _entry("Log", _near(result.log))


def _gate(result: RunResult) -> Iterator[str]:
    if result.validation is not None and not result.validation.passed:
        yield _entry("Data gate", result.validation.reason())
    if result.decision is None:
        return
    yield _entry("Gate", "approved" if result.decision.approved else "refused")
    for rule in result.decision.rules:
        weight = "" if rule.severity == "block" else " (warns only)"
        yield _entry("", f"{rule.verdict:<14} {rule.rule}{weight}: {rule.sentence}")


def _entry(label: str, text: str) -> str:
    return f"  {label:<{_LABEL}} {text}"


def _mlflow_ui(result: RunResult) -> str:
    beside = Path(sys.executable).parent / "mlflow"
    command = _near(beside) if beside.exists() else "mlflow"
    return f"{command} ui --backend-store-uri {shlex.quote(result.tracking_uri)}"


def _near(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _example_row(holdout: Path, *, target: str) -> dict[str, Any]:
    from penstock.data.table import iter_batches

    row = next(iter(iter_batches(holdout, rows=1))).to_pylist()[0]
    return {name: _json_value(value) for name, value in row.items() if name != target}


def _json_value(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
