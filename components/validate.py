"""Component `validate`."""

from kfp import dsl

from penstock.components._component import component


@component(runs_in="data")
def validate(
    dataset: dsl.Input[dsl.Dataset],
    results: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    suite: dsl.Output[dsl.Artifact],
    contract: dict = {},  # noqa: B006
    expectations: list = [],  # noqa: B006
) -> bool:
    """Check a dataset against its schema and a Great Expectations suite.

    Returns True when no check of severity block failed. Data that fail do not fail the task:
    the report is written, and what follows decides, so branch on the output.

    Args:
        dataset: What `ingest` wrote.
        contract: Fields of the project file's `contract` section: the columns that must be there.
        expectations: Great Expectations expectations as `{type, kwargs, severity}` objects.
            Severity block refuses the data; warn shows a warning, info only lists it.
        results: Validation record (JSON): each check, counts of unexpected values, samples.
        report: The same for people.
        suite: The expectations that were checked, as a Great Expectations suite (JSON).

    Fails when:
        An expectation is not known or names a column that is neither there nor in the contract.
    """
    from pathlib import Path

    from penstock.quality.check import validate as check
    from penstock.quality.spec import Contract
    from penstock.quality.suite import from_parameter

    validation = check(
        Path(dataset.path),
        contract=Contract.parse(contract, where="contract"),
        expectations=from_parameter(expectations),
        results=Path(results.path),
        report=Path(report.path),
        suite=Path(suite.path),
    )
    return validation.passed
