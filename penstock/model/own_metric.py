"""The metric of the project's own that a model was searched by, where the model is measured."""

from __future__ import annotations

from penstock.metrics import own
from penstock.own_code.importing import adopted, found
from penstock.own_code.reads import refused_reads
from penstock.own_code.reference import Reference
from penstock.records.model import Model, OwnCode


def use_metric_of(record: Model) -> None:
    """Make the metric that a model was searched by known, if it is the project's own.

    Args:
        record: Of the model that is measured: a champion beside it is measured by the same. Its
            code has been adopted, which loading does.

    Raises:
        InputError: If the code does not have it.
    """
    use_metric(record.code)


def use_metric(code: OwnCode | None) -> None:
    """Make the metric of adopted code known, if it has one; those known before are forgotten.

    Raises:
        InputError: If the code does not have it, or Penstock has one of the name.
    """
    own.forget()
    if code is None or code.metric is None:
        return
    reference = Reference.of(code.metric.function)
    with refused_reads(code.metric.function):
        function = found(adopted(code.digest), reference)
    own.use(
        reference.name,
        function,
        reference=code.metric.function,
        higher_is_better=code.metric.greater_is_better,
        needs=code.metric.given,
    )
