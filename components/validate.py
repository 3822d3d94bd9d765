"""Component `validate`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data")
def validate(
    dataset: dsl.Input[dsl.Dataset],
    results: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    suite: dsl.Output[dsl.Artifact],
    valid: dsl.Output[dsl.Dataset],
    quarantined: dsl.Output[dsl.Dataset],
    contract: dict = {},
    expectations: list = [],
    options: dict = {},
) -> bool:
    """Check a dataset against its schema and a Great Expectations suite.

    Returns True when no check of severity block failed, or when the rows that broke some were
    quarantined and the rest passes. Data that fail do not fail the task: the report is written, and
    what follows decides, so branch on the output.

    Args:
        dataset: What `ingest` wrote.
        contract: Fields of the project file's `contract` section: the columns that must be there.
        expectations: Great Expectations expectations as `{type, kwargs, severity}` objects.
            Severity block refuses the data; warn shows a warning, info only lists it.
        options: Fields of the project file's `validation` section: whether rows that break checks
            refuse the data or are quarantined, how many may be, and which engine reads the dataset.
        results: Validation record (JSON): each check, counts of unexpected values, samples.
        report: The same for people.
        suite: The expectations that were checked, as a Great Expectations suite (JSON).
        valid: The rows that go on, for `split`. A record that says so where all rows do.
        quarantined: The rows that do not, each with its number, which expectations it breaks, their
            columns and the reasons. A record that says so where there are none.

    Fails when:
        An expectation is not known or names a column that is neither there nor in the contract; the
        engine cannot be started.
    """
    from pathlib import Path

    from penstock.data.engine import opened
    from penstock.quality.check import validate as check
    from penstock.quality.spec import Contract, ValidationSpec
    from penstock.quality.suite import from_parameter

    spec = ValidationSpec.parse(options, where="validation")
    places = {Path(dataset.path): dataset.uri}
    with opened(spec.engine, addresses=places) as each:
        validation = check(
            Path(dataset.path),
            contract=Contract.parse(contract, where="contract"),
            expectations=from_parameter(expectations),
            results=Path(results.path),
            report=Path(report.path),
            suite=Path(suite.path),
            options=spec,
            valid=Path(valid.path),
            quarantined=Path(quarantined.path),
            each=each,
        )
    apart = validation.quarantine
    if apart and apart.kept:
        valid.metadata.update(digest=apart.kept, rows=apart.of - apart.rows)
        quarantined.metadata.update(digest=apart.content, rows=apart.rows)
    return validation.passed
