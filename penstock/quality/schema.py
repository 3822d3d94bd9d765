"""Whether a dataset has the columns of its contract, each with its type."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Literal

from penstock.quality.spec import Contract, ContractColumn
from penstock.records.dataset import Dataset
from penstock.records.quality import Finding

Severity = Literal["block", "warn", "info"]


def schema_findings(dataset: Dataset, contract: Contract) -> list[Finding]:
    """Return what is missing, extra or of another type than the contract says."""
    findings: list[Finding] = []
    if not contract.columns:
        return findings
    due = {column.name: column for column in contract.columns}
    extra = [column.name for column in dataset.columns if column.name not in due]
    for column in contract.columns:
        found = dataset.column(column.name)
        if found is None:
            findings.append(_missing(column, extra))
        elif found.type != column.type and (found.type, column.type) != ("integer", "number"):
            findings.append(_retyped(column, found.type))
    if not findings:
        findings.append(_schema("schema", "", True, _complete(len(due))))
    if contract.extra != "ignore":
        findings.extend(_extra(name, contract.extra) for name in extra)
    return findings


def _schema(
    check: str, column: str, passed: bool, sentence: str, severity: Severity = "block"
) -> Finding:
    return Finding(check=check, column=column, severity=severity, passed=passed, sentence=sentence)


def _complete(columns: int) -> str:
    return f"All {columns} columns of the contract are there, each with its type."


def _missing(column: ContractColumn, extra: Sequence[str]) -> Finding:
    close = difflib.get_close_matches(column.name, extra, n=1)
    hint = f" Is it now called {close[0]!r}?" if close else ""
    sentence = f"The column {column.name!r} ({column.type}) is missing.{hint}"
    return _schema("schema_missing", column.name, False, sentence)


def _retyped(column: ContractColumn, found: str) -> Finding:
    sentence = f"The column {column.name!r} holds {found} values; the contract says {column.type}."
    return _schema("schema_retyped", column.name, False, sentence)


def _extra(name: str, severity: Severity) -> Finding:
    sentence = f"The column {name!r} is not in the contract."
    return _schema("schema_extra", name, False, sentence, severity)
