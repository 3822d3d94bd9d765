"""The monitor's page and its words in the terminal, for every verdict."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from monitor_parts import BEGIN, HOUR, SPEC, Watch, drift, signal, worth

from penstock.monitoring.page.page import console_lines, monitor_page
from penstock.monitoring.settings.monitoring import GuardianSpec, MonitoringSpec, OperationsSpec
from penstock.records.figures import AttributionShare, ServiceFigures, Volume
from penstock.records.guard import Guard, GuardLimit, Harm
from penstock.records.monitoring import Action, Looked, Verdict
from penstock.records.rollout import ArmSummary

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
    page = monitor_page(watch.state, windows=windows, verdicts=watch.verdicts, spec=watch.spec)
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


def guarded(**changes: Any) -> Guard:
    """Version 2 against version 1; of 400 requests 20 failed and 8 had labels."""
    limits = (
        GuardLimit(signal="errors", expected=0.01, reference=900, tolerance=0.02, greatest=0.04),
        GuardLimit(
            signal="latency", expected=0.01, reference=800, tolerance=0.04, greatest=0.06,
            place=140, line=0.092,
        ),
    )  # fmt: skip
    fields: dict[str, Any] = {
        "version": 2,
        "former": 1,
        "since": BEGIN,
        "limits": limits,
        "open": ("The loss is not guarded: 8 labelled requests are too few to compare with.",),
        "seen": ArmSummary(requests=400, server_errors=20, latency={80: 342, 150: 38}),
        "detector": {"some": "state"},
        "log_evidence": 1.25,
        "threshold": 7.5,
    }
    return Guard(**fields | changes)


def page_with(*, guard: Guard | None = None, spec: MonitoringSpec = SPEC, **seen: Any) -> str:
    watch = Watch(spec)
    verdict = watch.look(**seen)
    looked = Looked(
        service="loans", version=1, number=1, time=verdict.time, **({"rows": 1000} | seen)
    )
    state = watch.state.model_copy(update={"guard": guard})
    html = monitor_page(state, windows=[looked], verdicts=[verdict], spec=spec)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_the_guardian_says_limits_what_was_seen_and_what_it_does_not_guard() -> None:
    page = page_with(guard=guarded())
    assert "Version 2 is held against version 1" in page
    assert "It answered 400 requests since." in page
    assert "Requests that its server fails 1.0 % of 900 4.0 % 5.0 % of 400 2.0 %" in page
    assert "Answers that take 0.092 s or more 1.0 % of 800 6.0 % 10.0 % of 380 4.0 %" in page
    assert "evidence for harm is 1.25; harm is shown from 7.5 on" in page
    assert (
        "Then version 1 serves again, by itself and once. Of healthy months at most 2.0 %" in page
    )
    assert "8 labelled requests are too few to compare with." in page
    assert "It has returned no champion." in page


def test_harm_that_is_not_returned_says_so() -> None:
    harm = Harm(time=BEGIN, signals=("errors",), reason="It fails.", returns=False)
    page = page_with(guard=guarded(harm=harm))
    assert (
        "Harm was shown at 2026-11-01 00:00 UTC. It fails. Nothing is returned by itself." in page
    )
    tried = guarded(
        harm=harm.model_copy(update={"returns": True}), tries=2, next_try=BEGIN + 3 * HOUR
    )
    assert (
        "Returns that were tried and did not succeed: 2. The next try is at 2026-11-01 03:00 UTC."
        in page_with(guard=tried)
    )


@pytest.mark.parametrize(
    ("mode", "guard", "said"),
    [
        ("never", None, "Nobody guards the champion: monitoring.guardian.mode is never."),
        ("automatic", None, "It has not read yet what the service answers."),
        ("suggest", guarded(), "Then people are notified, and nothing is returned by itself."),
        ("automatic", guarded(limits=(), former=None), "Version 2 is guarded against nothing."),
    ],
)
def test_what_is_not_guarded_says_so(mode: str, guard: Guard | None, said: str) -> None:
    spec = MonitoringSpec(guardian=GuardianSpec(mode=mode))
    assert said in page_with(guard=guard, spec=spec)


def test_a_return_is_listed_with_its_reason() -> None:
    watch = Watch()
    verdict = watch.look()
    done = Action(kind="returned", time=verdict.time, number=1, reason="Version 2 failed.")
    totals = watch.state.totals.model_copy(update={"actions": {"returned": 3}})
    state = watch.state.model_copy(update={"actions": (done,), "totals": totals})
    html = monitor_page(state, windows=[], verdicts=[verdict], spec=SPEC)
    assert "Returns since the monitor began: 3." in html
    assert html.count("Version 2 failed.") == 2  # By the guardian, and among what was done.


def test_operations_are_held_against_their_limits() -> None:
    spec = MonitoringSpec(operations=OperationsSpec(errors=0.01, p99=0.2))
    seen = ServiceFigures(requests=400, client_errors=3, server_errors=20, p99=0.05)
    page = page_with(spec=spec, operations=seen)
    assert "the server may fail 1.0 % of them, and 99 % of the answers may take 0.2 s." in page
    assert "5.0 % of 400 requests were answered with an error of the server; 1.0 % are" in page
    assert "2026-11-01 01:00 UTC 400 20 5.0 % 3 50 ms" in page
    assert "how long answers take has no limit" in page_with(operations=seen)
    nothing = ServiceFigures(requests=0, client_errors=0, server_errors=0)
    assert "There was no request in the last look." in page_with(operations=nothing)
    assert "no look could read the proxy's counters" in page_with()


def test_how_many_rows_came_what_decisions_are_worth_and_what_answers_rest_on() -> None:
    seen = Volume(since=BEGIN, until=BEGIN + HOUR, rows=312, learned=BEGIN + 9 * HOUR)
    value = worth(estimated=0.5).model_copy(update={"metric": "value of 1,000 decisions (EUR)"})
    shares = (AttributionShare(column="amount", holdout=0.25, window=0.5),)
    page, _ = story([{"volume": seen, "kpi": value, "attributions": shares}])
    text = re.sub(r"<[^>]+>", " ", page)
    assert "312 rows came; how many are usual is not known before 2026-11-01 09:00 UTC." in text
    assert "value of 1,000 decisions (EUR) is estimated at 0.500" in text
    assert re.search(r"amount\s+25.0 %\s+50.0 %", text)
