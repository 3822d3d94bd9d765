"""A whole dataset as a holdout: the same rows, with what a deployment sends of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.data.holdout import hold_out
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.errors import InputError
from penstock.serving.parity_check import sample_rows


def test_it_holds_the_same_rows_and_a_sample_of_them(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("amount,city\n" + "".join(f"{n}.5,Bonn\n" for n in range(30)))
    dataset = ingest(SourceSpec(uri=str(table)), output=tmp_path / "dataset")
    held = hold_out(tmp_path / "dataset", output=tmp_path / "held")
    assert (held.content, held.rows, held.part) == (dataset.content, 30, "holdout")
    assert (held.source, held.reading) == (dataset.source, dataset.reading)
    assert held.sample is not None
    assert held.sample.rows == 30
    rows = sample_rows(tmp_path / "held", rows=30)
    assert sorted(rows["amount"]) == [n + 0.5 for n in range(30)]


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        hold_out(tmp_path, output=tmp_path / "held")
    assert not (tmp_path / "held").exists()
