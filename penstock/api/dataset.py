"""A dataset on disk: Parquet files and the record beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from penstock.api.drawn import drawn
from penstock.records.dataset import Dataset as Record

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SHOWN = 30
"""Columns that a notebook shows."""


class Dataset:
    """What `ingest` or `split` wrote, opened to be read.

    Attributes:
        folder: Where it is.
        record: Its record: columns with their profiles, assumptions, notes.
    """

    def __init__(self, folder: Path, record: Record) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def open(cls, folder: str | Path) -> Dataset:
        r"""Open a dataset and check that its files are those that its record lists.

        Args:
            folder: The folder with `_dataset.json` and the Parquet files.

        Raises:
            InputError: If there is no readable record.
            IntegrityError: If a listed file is absent or has another size or number of rows.

        Example:
            >>> from penstock.data.ingest import ingest
            >>> from penstock.data.spec import SourceSpec
            >>> _ = Path("cities.csv").write_text("city,people\nBonn,330\nKiel,247\n")
            >>> _ = ingest(SourceSpec(uri="cities.csv"), output=Path("cities"))
            penstock| 2 rows, 2 columns, rows1:...
            >>> cities = Dataset.open("cities")
            >>> cities.rows, cities.columns
            (2, ('city', 'people'))
            >>> int(cities.frame(["people"])["people"].sum())
            577
        """
        from penstock.data.table import read_dataset

        return cls(Path(folder), read_dataset(Path(folder)))

    @property
    def version(self) -> str:
        """The dataset version: the content digest of the table that was ingested."""
        return self.record.version

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.record.rows

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, in order."""
        return tuple(column.name for column in self.record.columns)

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """Return it as one Arrow table; `columns` names some of them, in their order here."""
        from penstock.data.table import read_table

        return read_table(self.folder, columns)

    def frame(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Return it as a data frame; `columns` names some of them, in their order here."""
        frame: pd.DataFrame = self.table(columns).to_pandas()
        return frame

    def __repr__(self) -> str:
        return f"Dataset({str(self.folder)!r}, rows={self.rows:,}, version={self.version!r})"

    def _repr_html_(self) -> str:
        columns = self.record.columns[:_SHOWN]
        hidden = len(self.record.columns) - len(columns)
        more = [[f"{hidden:,} more", "", ""]] if hidden else []
        return drawn(
            "Dataset",
            f"{self.rows:,} rows, {len(self.columns):,} columns.",
            facts=[("Version", self.version), ("Source", self.record.source_text)],
            headers=["Column", "Type", "Missing"],
            rows=[[column.name, column.type, f"{column.profile.nulls:,}"] for column in columns]
            + more,
        )
