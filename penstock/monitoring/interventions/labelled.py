"""Rows that were answered since a change, with the labels that have come for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.captures.reader import labels_from, read_labels, read_window
from penstock.monitoring.interventions.intervention import half_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class LabelledRows:
    """Rows and their labels.

    Attributes:
        rows: As `penstock.captures.reader.read_window` returns them.
        labels: The true label of each; None where it has not come.
    """

    rows: pa.Table
    labels: list[Any]

    @property
    def labelled(self) -> int:
        """How many have their label."""
        return sum(label is not None for label in self.labels)

    @property
    def gate(self) -> int:
        """How many of those are in the half that the gate judges a recall on."""
        return len(self._labels_of_gate())

    def rarest(self, classes: Sequence[Any]) -> int | None:
        """Return how many of that half are of the class that has fewest.

        Args:
            classes: The model's; none: it predicts values.

        Returns:
            The number; None: there are no classes, or no label is one of them.
        """
        counts = Counter(map(str, self._labels_of_gate()))
        found = [counts[str(name)] for name in classes]
        return min(found) if any(found) else None

    def _labels_of_gate(self) -> list[Any]:
        requests = self.rows["request_id"].to_pylist()
        return [
            label
            for request, label in zip(requests, self.labels, strict=True)
            if label is not None and half_of(request) == "gate"
        ]

    def to_choose(self, version: int) -> LabelledRows:
        """Return the rows of the other half that a version answered."""
        import pyarrow as pa

        found = [
            place
            for place, (request, answered) in enumerate(
                zip(
                    self.rows["request_id"].to_pylist(),
                    self.rows["version"].to_pylist(),
                    strict=True,
                )
            )
            if answered == str(version) and half_of(request) == "choice"
        ]
        return LabelledRows(
            self.rows.take(pa.array(found, pa.int64())), [self.labels[place] for place in found]
        )


def rows_since(source: str | Path, since: datetime) -> LabelledRows:
    """Read the rows that were answered since a time, by whichever version.

    Args:
        source: Where the captured rows are.
        since: The time.

    Raises:
        InputError: If the address is of no known store, or versions' columns differ in type.
        ServiceError: If a store does not answer.
    """
    table = read_window(source, after=None, since=since).table
    labels, _ = read_labels(source, after=None, since=labels_from(since))
    known = dict(
        zip(
            zip(labels["request_id"].to_pylist(), labels["row"].to_pylist(), strict=True),
            labels["label"].to_pylist(),
            strict=True,
        )
    )
    keys = zip(table["request_id"].to_pylist(), table["row"].to_pylist(), strict=True)
    # Of the first answer to an id.
    return LabelledRows(table, [known.pop(key, None) for key in keys])
