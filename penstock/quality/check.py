"""Checks a dataset against its contract and its expectations, and reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from penstock.common import files
from penstock.common.progress import say
from penstock.data.engine import Each, here
from penstock.data.table import read_dataset
from penstock.errors import UsageError, absent_column
from penstock.quality import engine, wording
from penstock.quality.arguments import named_columns
from penstock.quality.outcome import Outcome
from penstock.quality.quarantine import say_unchanged
from penstock.quality.report import validation_page
from penstock.quality.schema import schema_findings
from penstock.quality.separation import Separated, separate
from penstock.quality.spec import Contract, Expectation, ValidationSpec
from penstock.quality.suite import digest_of, save_suite
from penstock.records.dataset import Dataset
from penstock.records.quality import Finding, Validation


def validate(
    folder: Path,
    *,
    contract: Contract,
    expectations: Sequence[Expectation],
    results: Path,
    report: Path,
    suite: Path | None = None,
    options: ValidationSpec = ValidationSpec(),
    valid: Path | None = None,
    quarantined: Path | None = None,
    each: Each = here,
) -> Validation:
    r"""Check a dataset, write what was found as a record and as a page, and return it.

    The schema is checked first: columns that are missing, extra or of another type. Then the rows;
    Great Expectations is imported where an expectation needs it alone. An expectation of severity
    block fails the data, any other does not. One that raises an error inside Great
    Expectations fails the data, whatever its severity.

    Args:
        folder: The dataset.
        contract: The columns it must have.
        expectations: What its values must be like, see `penstock.quality.suite`.
        results: Where to write `validation.json`.
        report: Where to write the HTML page.
        suite: Where to write the expectations used, as a suite of Great Expectations.
        options: What becomes of data that fail.
        valid: Where to write the rows that go on, if some are quarantined; else a record that says
            that all do.
        quarantined: Where to write those that are quarantined, with their reasons; else the same.
        each: The engine that reads the dataset, see `penstock.data.engine`.

    Raises:
        UsageError: If rows are to be quarantined and `valid` or `quarantined` is missing.
        InputError: If there is no readable dataset, or an expectation cannot be meant: an unknown
            type, arguments that it does not take, a column that is neither in the table nor in the
            contract.
        IntegrityError: If the dataset's files are not those of its record.

    Example:
        >>> from penstock.data.ingest import ingest
        >>> from penstock.data.spec import SourceSpec
        >>> _ = Path("ages.csv").write_text("age\n31\n-4\n")
        >>> _ = ingest(SourceSpec(uri="ages.csv"), output=Path("ages"))
        penstock| 2 rows, 1 columns, rows1:...
        >>> between = {
        ...     "type": "expect_column_values_to_be_between",
        ...     "kwargs": {"column": "age", "min_value": 0},
        ...     "severity": "block",
        ... }
        >>> validation = validate(
        ...     Path("ages"), contract=Contract(), expectations=[Expectation(**between)],
        ...     results=Path("validation.json"), report=Path("validation.html"),
        ... )
        penstock| ...
        >>> validation.passed
        False
    """
    places = _places(options, valid, quarantined)
    dataset = read_dataset(folder)

    def checked(rows: Path) -> list[Finding]:
        return _row_findings(rows, read_dataset(rows), contract, expectations, each)

    schema, by_rows = schema_findings(dataset, contract), checked(folder)
    separated: Separated | None = None
    if options.on_fail == "quarantine" and places is not None and not _refused(schema):
        separated = separate(
            folder,
            dataset,
            expectations,
            by_rows,
            max_share=options.quarantine.max_share,
            places=places,
            check=checked,
        )
    if not (separated and separated.quarantine.kept):
        for place in places or ():
            say_unchanged(place, dataset)
    findings = (*schema, *(separated.findings if separated else by_rows))
    validation = Validation(
        dataset=dataset.content,
        suite=digest_of(expectations),
        rows=dataset.rows,
        passed=not _refused(findings),
        findings=findings,
        quarantine=separated.quarantine if separated else None,
        settings=_settings(contract, expectations, options) if separated else None,
    )
    page = validation_page(validation, dataset=dataset, expectations=expectations)
    if suite is not None:
        save_suite(expectations, suite)
    files.write_text(report, page)
    validation.write(results)
    say(validation.reason())
    return validation


def _settings(
    contract: Contract, expectations: Sequence[Expectation], options: ValidationSpec
) -> dict[str, Any]:
    return {
        "contract": contract.model_dump(mode="json", exclude_defaults=True),
        "expectations": [
            one.model_dump(mode="json", exclude_defaults=True) for one in expectations
        ],
        "options": options.model_dump(mode="json", exclude_defaults=True),
    }


def _places(
    options: ValidationSpec, valid: Path | None, quarantined: Path | None
) -> tuple[Path, Path] | None:
    """Return where the rows that go on and the others are written, None if nowhere.

    Raises:
        UsageError: If rows are to be quarantined, and a place is missing.
    """
    if valid is not None and quarantined is not None:
        return valid, quarantined
    if options.on_fail == "quarantine":
        raise UsageError(
            "rows are to be quarantined, and there is no place for them",
            where="validate",
            remedy="Name `valid` and `quarantined`, or set `validation.on_fail: refuse`.",
        )
    return None


def _refused(findings: Iterable[Finding]) -> bool:
    return any(finding.failed and finding.severity == "block" for finding in findings)


def _row_findings(
    folder: Path,
    dataset: Dataset,
    contract: Contract,
    expectations: Sequence[Expectation],
    each: Each,
) -> list[Finding]:
    lacking = [
        _lacking(expectation, at, dataset, contract) for at, expectation in enumerate(expectations)
    ]
    present = {at: expectations[at] for at, names in enumerate(lacking) if not names}
    outcomes = engine.run(folder, dataset, present, each=each) if present else {}
    return [
        _finding(expectation, outcomes.get(at) or _unchecked(lacking[at]))
        for at, expectation in enumerate(expectations)
    ]


def _lacking(
    expectation: Expectation, at: int, dataset: Dataset, contract: Contract
) -> tuple[str, ...]:
    """Return the columns that an expectation is about and the data lack, by the contract.

    Raises:
        InputError: If such a column is not in the contract either: then the suite is wrong.
    """
    lacking = tuple(name for name in named_columns(expectation) if dataset.column(name) is None)
    known = {column.name for column in contract.columns}
    for name in lacking:
        if name not in known:
            columns = [column.name for column in dataset.columns]
            raise absent_column(name, columns, where=f"expectations[{at}], {expectation.type}")
    return lacking


def _unchecked(lacking: Sequence[str]) -> Outcome:
    return Outcome(passed=False, error=f"the column {lacking[0]!r} is missing")


def _finding(expectation: Expectation, outcome: Outcome) -> Finding:
    unsure = bool(outcome.error)
    return Finding(
        check=expectation.type,
        column=", ".join(named_columns(expectation)),
        severity="block" if unsure else expectation.severity,
        passed=outcome.passed,
        sentence=_sentence(expectation, outcome),
        kwargs=expectation.kwargs,
        checked=outcome.checked,
        unexpected=outcome.unexpected,
        samples=outcome.samples,
    )


def _sentence(expectation: Expectation, outcome: Outcome) -> str:
    demand = wording.requirement(expectation)
    if outcome.error:
        return f"{demand}: this could not be checked, because {outcome.error.rstrip('.')}."
    if outcome.checked is not None and outcome.unexpected is not None:
        counted = wording.counted(
            passed=outcome.passed,
            checked=outcome.checked,
            unexpected=outcome.unexpected,
            samples=outcome.samples,
        )
        return f"{demand}: {counted}"
    if outcome.observed:
        return f"{demand}: found {outcome.observed}."
    if outcome.samples:
        return f"{demand}: found {wording.examples(outcome.samples)}."
    return f"{demand}: {'it does' if outcome.passed else 'it does not'}."
