"""Decides whether rows are quarantined, and shows that what is left passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.quality.quarantine import BrokenRows, broken_rows, tells_rows
from penstock.quality.spec import Expectation
from penstock.records.dataset import Dataset
from penstock.records.quality import Finding, Quarantine


@dataclass(frozen=True)
class Separated:
    """What came of it.

    Args:
        quarantine: How many rows, and the digests of both parts; these are empty if no row was
            taken out, and the data are refused.
        findings: What was found by each expectation. Before them, what is found of the rest alone.
    """

    quarantine: Quarantine
    findings: tuple[Finding, ...]


class _RestFailsError(Exception):
    """The rows that are left do not pass either."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self.findings = findings


def separate(
    folder: Path,
    dataset: Dataset,
    expectations: Sequence[Expectation],
    findings: Sequence[Finding],
    *,
    max_share: float,
    places: tuple[Path, Path],
    check: Callable[[Path], Sequence[Finding]],
) -> Separated | None:
    """Take out the rows that break what failed, if that alone is wrong with the data.

    Args:
        folder: The dataset.
        dataset: Its record.
        expectations: The suite.
        findings: What was found by each.
        max_share: The largest share of rows that may be taken out.
        places: Where to write the rest and the rows that are taken out.
        check: Checks a dataset by the suite: the rest has to pass it.

    Returns:
        What came of it. None where rows cannot be taken out: nothing of severity block failed, or
        something that is not about single rows did.
    """
    failed = {
        at: expectations[at]
        for at, finding in enumerate(findings)
        if finding.failed and finding.severity == "block"
    }
    if not failed or not all(
        findings[at].checked is not None and tells_rows(one, dataset, at)
        for at, one in failed.items()
    ):
        return None
    most = max(findings[at].unexpected or 0 for at in failed)
    counted = Quarantine(rows=most, of=dataset.rows, max_share=max_share)
    if counted.refused:
        # More than may be, without looking which: memory grows with rows that repeat.
        return Separated(counted, tuple(findings))
    broken = broken_rows(folder, dataset, failed)
    counted = counted.model_copy(update={"rows": broken.rows})
    if counted.refused:
        return Separated(counted, tuple(findings))
    return _written(broken, findings, counted=counted, places=places, check=check)


def _written(
    broken: BrokenRows,
    findings: Sequence[Finding],
    *,
    counted: Quarantine,
    places: tuple[Path, Path],
    check: Callable[[Path], Sequence[Finding]],
) -> Separated:
    def accept(rest: Path) -> None:
        wrong = [one for one in check(rest) if one.failed and one.severity == "block"]
        if wrong:
            raise _RestFailsError(wrong)

    try:
        left, taken = broken.write(valid=places[0], quarantined=places[1], accept=accept)
    except _RestFailsError as error:
        return Separated(counted, (*map(_of_the_rest, error.findings), *findings))
    digests = {"kept": left.content, "content": taken.content}
    marked = [
        one.model_copy(update={"quarantined": broken.counts[at]}) if at in broken.counts else one
        for at, one in enumerate(findings)
    ]
    return Separated(counted.model_copy(update=digests), tuple(marked))


def _of_the_rest(finding: Finding) -> Finding:
    sentence = f"Of the rows that would be left: {finding.sentence}"
    return finding.model_copy(update={"sentence": sentence})
