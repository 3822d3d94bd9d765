"""Since when rows are what they are now: what moved earlier is not taken for the change."""

from __future__ import annotations

from datetime import UTC, datetime

from penstock.records.figures import Detected, SignalFigure


def at(hour: int) -> datetime:
    return datetime(2026, 11, 1, hour, tzinfo=UTC)


def figure(name: str, log_evidence: float, since: datetime | None) -> SignalFigure:
    return SignalFigure(
        name=name, kind="decile", expected=0.1, value=0.3, low=0.2, high=0.4, tolerance=0.02,
        least=0.08, greatest=0.12, log_evidence=log_evidence, since=since,
    )  # fmt: skip


def test_the_latest_beginning_counts_of_the_signals_that_show_something() -> None:
    signals = (
        figure("loss", 8.0, at(1)),
        figure("amount", -2.2, at(9)),
        figure("visits", 0.5, None),
        figure("city", -2.4, at(11)),
    )
    found = Detected(log_evidence=8.2, threshold=5.9, signals=signals, since=at(1))
    assert found.changed == at(9)


def test_where_none_does_it_is_that_of_all_together() -> None:
    signals = (figure("amount", -3.0, at(9)),)
    assert Detected(log_evidence=1, threshold=5.9, signals=signals, since=at(3)).changed == at(3)
    assert Detected(log_evidence=1, threshold=5.9).changed is None
