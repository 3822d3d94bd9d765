"""Runs expectations by Great Expectations 1.x on a dataset, a few columns at a time.

Great Expectations copies the whole frame for nearly every expectation, and one error while it
resolves its metrics takes the whole suite with it. So expectations are run in groups on
the same columns, each on a frame of these columns alone: memory stays that of a column, and what
goes wrong in one group leaves the others.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.data.table import read_table
from penstock.errors import InputError
from penstock.quality import _gx_import
from penstock.quality.arguments import (
    is_about_the_table,
    named_columns,
    refuse_parameters,
    refused,
    with_times,
)
from penstock.quality.outcome import DRAWN, Outcome, observed_text, sample_texts
from penstock.quality.spec import Expectation
from penstock.records.dataset import Dataset

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_POSITION = "penstock_position"


def run(
    folder: Path, dataset: Dataset, expectations: Mapping[int, Expectation]
) -> dict[int, Outcome]:
    """Check expectations and return the outcome of each.

    Args:
        folder: The dataset.
        dataset: Its record.
        expectations: By position in the suite, which errors name. Their columns are all there.

    Raises:
        InputError: If Great Expectations does not know an expectation or refuses its arguments.
    """
    typed = {at: with_times(expectations[at], dataset) for at in expectations}
    built = {at: _build(expectation, at) for at, expectation in typed.items()}
    outcomes: dict[int, Outcome] = {}
    for (names, single), positions in _groups(expectations, dataset).items():
        frame = _frame(folder, dataset, names, single=single)
        outcomes.update(_run_group(frame, {at: built[at] for at in positions}))
    return outcomes


def _groups(
    expectations: Mapping[int, Expectation], dataset: Dataset
) -> dict[tuple[tuple[str, ...], bool], list[int]]:
    """Return which expectations run on a frame of which columns; () stands for the bare table.

    The second part of a key is whether it takes values one by one: see `_series`.
    """
    everything = tuple(column.name for column in dataset.columns)
    groups: dict[tuple[tuple[str, ...], bool], list[int]] = {}
    for at, expectation in expectations.items():
        names = named_columns(expectation)
        unclear = not names and not is_about_the_table(expectation)
        # A row condition may name any column.
        if unclear or expectation.kwargs.get("row_condition"):
            names = everything
        single = expectation.type == "expect_column_values_to_be_in_type_list"
        groups.setdefault((tuple(sorted(names)), single), []).append(at)
    return groups


def _build(expectation: Expectation, at: int) -> Any:
    _gx_import.load()
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    where = f"expectations[{at}]"
    refuse_parameters(expectation, where)
    configuration = ExpectationConfiguration(
        type=expectation.type, kwargs=dict(expectation.kwargs), meta={_POSITION: at}
    )
    try:
        return configuration.to_domain_obj()
    except ExpectationNotFoundError as error:
        raise InputError(
            f"Great Expectations knows no {expectation.type!r}",
            where=f"{where}.type",
            remedy=_suggestion(expectation.type),
        ) from error
    except (TypeError, ValueError) as error:
        raise refused(expectation, _complaints(error), where) from error


def _suggestion(unknown: str) -> str:
    from great_expectations.expectations.registry import (
        list_registered_expectation_implementations,
    )

    close = difflib.get_close_matches(unknown, list_registered_expectation_implementations(), n=1)
    return f"Did you mean {close[0]}?" if close else "Look it up in Great Expectations' gallery."


def _complaints(error: Exception) -> str:
    listed = getattr(error, "errors", None)
    if not callable(listed):
        return " ".join(str(error).split())[:300]
    found: dict[str, list[str]] = {}
    for item in listed():
        field = ".".join(str(part) for part in item["loc"] if part != "__root__")
        found.setdefault(field, []).append(item["msg"])
    return "; ".join(
        f"{field}: {' or '.join(messages)}" if field else " or ".join(messages)
        for field, messages in found.items()
    )


def _run_group(frame: pd.DataFrame, built: Mapping[int, Any]) -> dict[int, Outcome]:
    import great_expectations as gx

    # Not from the environment: a GX_HOME there would be read and written.
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_pandas("penstock")
        .add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("all")
        .get_batch(batch_parameters={"dataframe": frame})
    )
    suite = gx.ExpectationSuite(name="penstock", expectations=list(built.values()))
    try:
        # batch.validate, because a Checkpoint raises on results that JSON cannot hold.
        answers = batch.validate(
            suite, result_format={"result_format": "BASIC", "partial_unexpected_count": DRAWN}
        ).results
    except Exception as error:  # Whatever it is, it is not a pass.
        return dict.fromkeys(built, Outcome(passed=False, error=_first_line(str(error))))
    outcomes = {answer.expectation_config.meta[_POSITION]: _outcome(answer) for answer in answers}
    lost = Outcome(passed=False, error="Great Expectations returned no result")
    return {at: outcomes.get(at, lost) for at in built}


def _outcome(answer: Any) -> Outcome:
    error = _exception(answer.exception_info)
    if error:
        return Outcome(passed=False, error=error)
    result = answer.result or {}
    passed = bool(answer.success)
    if "element_count" not in result:
        drawn = result.get("partial_unexpected_list") or []
        return Outcome(
            passed=passed,
            samples=_samples(drawn),
            observed=observed_text(result.get("observed_value")),
        )
    return Outcome(
        passed=passed,
        checked=int(result["element_count"]) - int(result.get("missing_count") or 0),
        unexpected=int(result.get("unexpected_count") or 0),
        samples=_samples(result.get("partial_unexpected_list") or []),
    )


def _exception(info: Any) -> str:
    """Return the message of an error, whether it is recorded flat or by metric; empty if none."""
    if not info:
        return ""
    if "raised_exception" in info:
        raised = [info] if info["raised_exception"] else []
    else:
        raised = list(info.values())
    if not raised:
        return ""
    first = raised[0]
    message = first["exception_message"] if isinstance(first, Mapping) else first.exception_message
    return _first_line(str(message))


def _first_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0][:300] if lines else "no reason given"


def _samples(drawn: Sequence[Any]) -> tuple[str, ...]:
    import pandas as pd

    return sample_texts(
        value for value in drawn if not (pd.api.types.is_scalar(value) and pd.isna(value))
    )


def _frame(folder: Path, dataset: Dataset, names: Sequence[str], *, single: bool) -> pd.DataFrame:
    """Return columns as a frame; without names, one of all columns in which only names count."""
    import numpy as np
    import pandas as pd

    if not names:
        empty = np.zeros(dataset.rows, dtype=bool)
        return pd.DataFrame({column.name: empty for column in dataset.columns}, copy=False)
    table = read_table(folder, names)
    return pd.DataFrame(dict(_series(table, single=single)), columns=list(names), copy=False)


def _series(table: pa.Table, *, single: bool) -> Iterator[tuple[str, pd.Series]]:
    """Yield columns as pandas holds them, whole numbers as such also where a value is missing.

    pandas by itself turns those into floats, of which no pattern and no type is that of an integer,
    and which skip numbers beyond 2**53.

    Args:
        table: The columns.
        single: Give such columns as single values: Great Expectations knows no list of types in
            which pandas' own nullable integers are.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    for name in table.column_names:
        column = table[name]
        if not pa.types.is_integer(column.type) or not column.null_count:
            yield name, column.to_pandas()
        elif single:
            values = [None if value is None else np.int64(value) for value in column.to_pylist()]
            yield name, pd.Series(values, dtype=object)
        else:
            yield name, column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
