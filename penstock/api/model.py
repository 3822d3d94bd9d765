"""A registered version that answers as its server does."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from penstock.api.drawn import drawn
from penstock.registry.versions import Version
from penstock.scoring.version import resolve

if TYPE_CHECKING:
    import pandas as pd

    from penstock.records.model import Model as Record
    from penstock.serving.prediction import Scorer


class Model:
    """A version of a registered model, fetched and checked.

    Its files are those that were registered, by their digest, and it may answer: it is or was
    champion, or it is approved (`unapproved` takes any that is named by its number). It answers
    with the bits of the server and of `penstock score`.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/NUMBER`. An alias is resolved once, now.
        tracking_uri: The MLflow store. Empty: of the project file in the working folder, else
            MLFLOW_TRACKING_URI.
        unapproved: Take a version that was named by its number although it was not approved.

    Attributes:
        uri: `models:/NAME/NUMBER`.
        admitted: Why it may answer.

    Raises:
        InputError: If there is no such version.
        NotApprovedError: If it may not answer.
        IntegrityError: If its files or tags are not what was registered.
        ServiceError: If the registry does not answer.
        UsageError: If no store is known.
    """

    def __init__(self, uri: str, *, tracking_uri: str = "", unapproved: bool = False) -> None:
        from penstock.pipelines.located import store

        self._store = store(tracking_uri)
        self._version, self.admitted = resolve(uri, tracking_uri=self._store, unapproved=unapproved)
        self.uri = self._version.uri
        self._scorer, self._background = _loaded(self._version, tracking_uri=self._store)

    @property
    def record(self) -> Record:
        """What it learned from and how: columns, classes, threshold, metrics, libraries."""
        return self._scorer.record

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it takes."""
        return tuple(column.name for column in self.record.columns)

    def predict(self, rows: pd.DataFrame, *, explain: bool = False) -> pd.DataFrame:
        """Return what it answers to rows.

        Args:
            rows: Its columns; others are not looked at. NaN and None are missing.
            explain: Add the contribution of each column to the score (`shap_COLUMN`).

        Returns:
            `prediction`; of a classifier `probability_CLASS` for each class, between 0 and 1. One
            row for each that was given, with its index.

        Raises:
            InputError: If a column is not there, or a value is one that the server refuses; if rows
                are to be explained and the model carries none to compare with.
        """
        from penstock.errors import InputError
        from penstock.scoring.answers import Answerer
        from penstock.scoring.frame import rows_of_frame
        from penstock.serving.explaining import Explainer, lacks_background

        lacking = lacks_background(self._scorer, self._background) if explain else ""
        if lacking:
            raise InputError(lacking, where="explain")
        explainer = Explainer(self._scorer, self._background) if explain else None
        answerer = Answerer(self._scorer, keep=(), explainer=explainer)
        found = answerer.answer(rows_of_frame(rows, self.record)).table
        frame: pd.DataFrame = found.to_pandas()
        return frame.set_index(rows.index)

    def __repr__(self) -> str:
        return f"Model({self.uri!r})"

    def _repr_html_(self) -> str:
        record = self.record
        facts = [
            ("Digest", self._version.model),
            ("Dataset version", self._version.dataset),
            ("Estimator", record.name),
            ("Predicts", f"{record.target} ({record.task})"),
            ("Answers by", self._scorer.runtime),
        ]
        return drawn(
            self.uri,
            f"It may answer: {self.admitted}.",
            facts=facts,
            headers=["Column", "Type"],
            rows=[[column.name, column.type] for column in record.columns],
        )


def _loaded(version: Version, *, tracking_uri: str) -> tuple[Scorer, dict[str, list[Any]]]:
    from penstock import model
    from penstock.registry import versions
    from penstock.serving.loading import load_scorer

    with TemporaryDirectory(prefix="penstock-model-") as place:
        folder = Path(place) / "model"
        versions.fetch(version.uri, tracking_uri=tracking_uri, destination=folder)
        scorer = load_scorer(folder, digest=version.model, export=version.export)
        return scorer, dict(model.background(folder))
