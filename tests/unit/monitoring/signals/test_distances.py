"""Distances from counts in the reference's edges, beside scipy's on the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from monitored_rows import captured, mixed, reference_to
from scipy import stats
from scipy.spatial import distance

from penstock.monitoring.signals.definitions import signals_of
from penstock.monitoring.signals.distances import distances
from penstock.monitoring.signals.window import measure


def measured(before: dict, now: dict, folder: Path) -> dict:
    reference = reference_to(before, folder)
    counts = measure(captured(now), signals=signals_of(reference), reference=reference).counts
    return {one.column: one for one in distances(counts, reference)}


@pytest.mark.parametrize("shift", [0.1, 0.5])
def test_numbers_lie_as_far_apart_as_their_rows(tmp_path: Path, shift: float) -> None:
    before, now = mixed(20_000, seed=1), mixed(20_000, seed=2, shift=shift)
    found = measured(before, now, tmp_path / "rows")
    amounts = [before["amount"].to_numpy(), now["amount"].to_numpy()]
    amount = found["amount"]
    assert amount.ks == pytest.approx(stats.ks_2samp(*amounts).statistic, abs=0.002)
    assert amount.wasserstein == pytest.approx(stats.wasserstein_distance(*amounts), rel=0.1)
    visits = [before["visits"].to_numpy(), now["visits"].to_numpy()]
    assert found["visits"].ks == pytest.approx(stats.ks_2samp(*visits).statistic)
    assert found["visits"].wasserstein == pytest.approx(
        stats.wasserstein_distance(*visits), abs=0.001
    )


def test_levels_lie_as_far_apart_as_scipy_says(tmp_path: Path) -> None:
    before = {"color": pa.array(["red"] * 600 + ["blue"] * 400)}
    now = {"color": pa.array(["red"] * 250 + ["blue"] * 200 + ["pink"] * 50)}
    color = measured(before, now, tmp_path / "rows")["color"]
    table = np.array([[600, 400, 0], [250, 200, 50]])
    assert color.chi_squared == pytest.approx(stats.chi2_contingency(table).statistic)
    assert color.degrees == 2
    assert color.jensen_shannon == pytest.approx(distance.jensenshannon(*table))
    assert color.ks is None
    p, q = (table + 0.0) / table.sum(axis=1)[:, None]
    p = np.array([600, 400, 0.5]) / 1000.5
    expected = ((q - p) * np.log(q / p)).sum() - 2 * (1 / 1000 + 1 / 500)
    assert color.psi == pytest.approx(expected)


def test_the_same_rows_lie_no_distance_apart(tmp_path: Path) -> None:
    rows = mixed(2000, seed=1)
    for one in measured(rows, rows, tmp_path / "rows").values():
        assert one.psi == 0
        assert one.jensen_shannon == pytest.approx(0, abs=1e-7)
        assert one.chi_squared == pytest.approx(0, abs=1e-7)
        assert one.ks in (None, pytest.approx(0))


def test_what_cannot_be_told_is_none_and_no_error(tmp_path: Path) -> None:
    stamp = pa.timestamp("us", tz="UTC")
    before = {
        "empty": pa.nulls(40, pa.float64()),
        "day": pa.array(range(40), stamp),
        "unit": pa.array([5.0] * 40),
        "most": pa.array([1e150] * 40),
    }
    for rows in (0, 1, 40):
        now = {
            "empty": pa.array([1.0] * rows),
            "day": pa.nulls(rows, stamp),
            "unit": pa.array([6.0] * rows),
            "most": pa.array([np.inf] * rows),
        }
        found = measured(before, now, tmp_path / f"rows-{rows}")
        assert found["day"].ks is None
        assert found["empty"].jensen_shannon is None
        assert (found["unit"].ks is None) == (rows == 0)
        assert (found["unit"].psi is None) == (rows == 0)
