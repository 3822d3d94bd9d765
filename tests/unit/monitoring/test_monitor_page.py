"""The monitor's page and its words in the terminal, for every verdict."""

from __future__ import annotations

import re

import pytest
from monitor_parts import BEGIN, HOUR, Watch, drift, signal, worth

from penstock.monitoring.page import console_lines, monitor_page
from penstock.records.monitoring import AttributionShare, Looked, Verdict, Volume

STORIES: dict[str, list[dict]] = {
    "healthy": [{}],
    "watch": [{"drift": drift(5, signal(evidence=5))}],
    "drifted": [{}, {"drift": drift(9, signal(), signal("income: missing", kind="missing"))}],
    "degraded": [
        {"performance": worth(estimated=0.9)},
        {"drift": drift(9, signal()), "performance": worth(estimated=0.89, realized=0.8)},
    ],
    "blind": [{"rows": 0, "problem": "Nothing is being served."}],
}


def story(looks: list[dict]) -> tuple[str, Verdict]:
    """The page after some looks, and the last verdict."""
    watch = Watch()
    windows = []
    for number, seen in enumerate(looks, start=1):
        verdict = watch.look(**seen)
        fields = {"rows": 1000} | seen
        windows.append(
            Looked(service="loans", version=1, number=number, time=verdict.time, **fields)
        )
    page = monitor_page(watch.state, windows=windows, verdicts=watch.verdicts, every=3600)
    return page, watch.verdicts[-1]


@pytest.mark.parametrize("kind", STORIES)
def test_the_page_says_the_verdict_why_and_what_to_do(kind: str) -> None:
    page, verdict = story(STORIES[kind])
    assert verdict.kind == kind
    assert f"<strong>{kind.title()}</strong>" in page
    for said in (*verdict.reasons, *verdict.advice, verdict.bound):
        assert said.replace("'", "&#x27;") in page
    assert "Looks every" in page
    assert not re.search(r"\bNone\b|\bnan\b", re.sub(r"<style>.*?</style>", "", page, flags=re.S))


def test_columns_stand_in_order_with_size_interval_and_tolerance() -> None:
    page, _ = story(STORIES["drifted"])
    text = re.sub(r"<[^>]+>", " ", page[page.index("What changed</h2>") :])
    assert text.index("amount") < text.index("income")
    assert "80.0 % (79.0 % to 81.0 %)" in text
    assert "40.0 % to 60.0 %" in text


def test_the_effect_on_performance_has_its_intervals() -> None:
    page, _ = story(STORIES["degraded"])
    assert "Without labels accuracy is estimated at 0.890 (0.880 to 0.900)" in page
    assert (
        "On 1,000 rows whose labels came by 2026-11-01 02:00 UTC accuracy is 0.800 (0.790 to 0.810)"
        in page
    )
    assert "accuracy over time" in page


def test_what_labels_said_is_shown_until_others_come() -> None:
    degraded = {"drift": drift(9, signal()), "performance": worth(realized=0.8)}
    page, verdict = story([{}, degraded, {"rows": 0, "drift": drift(9)}])
    assert verdict.kind == "degraded"
    assert "With labels accuracy is 0.800 (0.790 to 0.810)" in verdict.reasons[0]
    assert "whose labels came by 2026-11-01 02:00 UTC accuracy is 0.800" in page


def test_text_of_the_data_is_text() -> None:
    page, _ = story([{"drift": drift(9, signal("<script>x</script>: at most 1"))}])
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page


def test_the_terminal_says_the_same_in_a_few_lines() -> None:
    _, verdict = story(STORIES["drifted"])
    lines = console_lines(verdict)
    assert lines[0] == f"DRIFTED   {verdict.headline}"
    assert lines[-1].strip() == verdict.bound
    _, healthy = story(STORIES["healthy"])
    assert len(console_lines(healthy)) == 2


def test_how_many_rows_came_what_decisions_are_worth_and_what_answers_rest_on() -> None:
    seen = Volume(since=BEGIN, until=BEGIN + HOUR, rows=312, learned=BEGIN + 9 * HOUR)
    value = worth(estimated=0.5).model_copy(update={"metric": "value of 1,000 decisions (EUR)"})
    shares = (AttributionShare(column="amount", holdout=0.25, window=0.5),)
    page, _ = story([{"volume": seen, "kpi": value, "attributions": shares}])
    text = re.sub(r"<[^>]+>", " ", page)
    assert "312 rows came; how many are usual is not known before 2026-11-01 09:00 UTC." in text
    assert "value of 1,000 decisions (EUR) is estimated at 0.500" in text
    assert re.search(r"amount\s+25.0 %\s+50.0 %", text)
