"""The rollout's page: whole, true to the record, and safe with any text."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from rollout_stories import STORIES, counts, good

from penstock.errors import InputError
from penstock.records.rollout import HistogramBuckets, Rollout, total, total_pairs
from penstock.rollout.report import render
from penstock.rollout.report_points import (
    bins_of,
    densities,
    line_of,
    mean_losses,
    paused,
    phases_of,
    points_of,
    quantile,
)


@cache
def told(name: str) -> tuple[Rollout, str]:
    record = STORIES[name]()
    return record, render(record)


class Page(HTMLParser):
    """A page's text by element, in order, and its attributes; fails on what is left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs) -> None:
        self.attributes += attrs
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.texts.append((self.open[-1], " ".join(data.split())))

    def of(self, tag: str) -> list[str]:
        return [text for found, text in self.texts if found == tag]

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.texts)


def page_of(name: str) -> Page:
    return Page(told(name)[1])


@pytest.mark.parametrize("name", STORIES)
def test_every_rollout_has_a_page_that_is_whole_and_reaches_for_nothing(name: str) -> None:
    record, html = told(name)
    seen = Page(html)
    ids = [value for key, value in seen.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    assert len(html) < 200_000
    assert not re.search(r'(src|href)="(?!#)|url\((?!#)|@import', html)
    assert not re.search(r"\b(nan|None|inf)\b", seen.text)
    assert "<script" not in html
    assert render(record) == html
    assert f"version {record.candidate}" in seen.text


def test_a_promotion_says_what_serves_and_how_to_go_back() -> None:
    record, html = told("good")
    seen = Page(html)
    assert "<strong>Promoted</strong>" in html
    assert "Version 7 of fraud was promoted over version 6" in seen.text
    assert "penstock rollback # serves version 6 again" in seen.text
    assert "Fault injection" not in seen.text
    everything = total(arm for i in record.intervals for arm in (i.stable, i.candidate))
    facts = dict(zip(seen.of("dt"), seen.of("dd"), strict=False))
    assert facts["Users' requests"] == f"{everything.requests - everything.replayed:,}"
    assert facts["Replayed requests"] == f"{everything.replayed:,}"
    copies = total_pairs(i.pairs for i in record.intervals).candidate.requests
    assert facts["Mirrored requests"] == f"{copies:,}"
    assert facts["Lasted"] == "1 min 48 s"


@pytest.mark.parametrize(
    ("name", "rule", "figure"),
    [
        ("with_errors", "server errors", "5.2 points (2.4 to 8.3)"),
        ("slow", "latency", "3.1\N{MULTIPLICATION SIGN} (2.4 to 3.9)"),
        ("shifted", "scores", "0.61 (from 0.5)"),
    ],
)
def test_a_rollback_begins_with_the_rule_that_failed(name: str, rule: str, figure: str) -> None:
    record, html = told(name)
    seen = Page(html)
    assert "<strong>Rolled back</strong>" in html
    assert record.reason in seen.text
    # Before anything else that is a table: the rule, its verdict in words, why, and the figure.
    first = seen.of("td")[:5]
    verdicts = seen.of("span")
    assert (first[0], verdicts[0], first[1], first[2]) == (rule, "fail", record.reason, figure)
    assert "version 6 serves every request" in seen.text.lower()
    assert f'Fault injection: the fault "{record.fault}" was added to' in seen.text
    decision = html[html.index(" → rollback") :]
    assert decision[: decision.index("</tr>\n<tr>")].count(f">{rule}</td>") == 1
    assert html.index('class="notice"') < html.index('class="verdict bad"')


def test_every_move_is_there_with_its_evidence() -> None:
    record, html = told("good")
    headings = Page(html).of("h3")
    assert headings == [
        "1. Deploy, candidate at 0 %",
        "2. Deploy → shadow, candidate at 0 %",
        "3. Shadow → step 1 of 2, candidate at 10 %",
        "4. Step 1 of 2 → step 2 of 2, candidate at 50 %",
        "5. Step 2 of 2 → promote, candidate at 100 %",
        "6. Promote → done, candidate at 100 %",
    ]
    findings = sum(len(transition.findings) for transition in record.transitions)
    verdicts = re.findall(r'<td class="short">(?:<span[^>]*>)?(pass|not judged)<', html)
    assert len(verdicts) == findings


def test_what_a_server_said_is_shown_and_not_obeyed() -> None:
    _, html = told("crashed_at_start")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    seen = page_of("crashed_at_start")
    assert "/home/me/.penstock/fraud/logs/7.log" in seen.of("code")
    assert "Nothing was measured" in seen.text
    assert "It got none of the users' requests." in seen.text
    # The weight alone can be drawn, once for a wide and once for a narrow window.
    assert html.count('role="img"') == 2


def test_a_cluster_s_report_does_not_say_that_users_were_spared() -> None:
    record = STORIES["crashed_at_start"]().model_copy(update={"router": "kserve-gateway"})
    seen = Page(render(record))
    assert "of the users' requests." not in seen.text
    assert "0 of the users' requests to it were counted; there may have been more." in seen.text


def test_a_first_release_has_nothing_to_go_back_to() -> None:
    seen = page_of("first_release")
    assert "none yet" in seen.of("dd")
    assert "penstock rollback" not in seen.text
    # The plan was not followed: there was nothing to follow it for.
    assert "all traffic at once, without a comparison" in seen.of("dd")
    assert "Min. requests" not in seen.of("th")
    assert "Version 7 of fraud was promoted. It is the first release" in seen.text


def test_an_unfinished_rollout_is_not_judged() -> None:
    html = told("under_way")[1]
    seen = page_of("under_way")
    assert 'class="verdict plain"' in html
    assert "Decision: " not in seen.text
    assert "penstock rollout approve" in seen.text
    assert "Nothing was measured for 1 min 35 s within a phase" in seen.text


def test_a_regression_has_values_and_no_labels() -> None:
    seen = page_of("regression")
    assert "Steps: predicted value" in seen.text
    assert "Predicted label" not in seen.text
    assert "p99 latency, s" in seen.text
    assert "Hours since 05:24:10 UTC" in seen.text
    assert "Failed requests (5xx): none for either version." in seen.text


def test_a_plan_of_another_release_is_refused_by_name() -> None:
    record = good().model_copy(update={"plan": {"stpes": []}})
    with pytest.raises(InputError, match=r"rollout fraud-7-0001: plan.*stpes"):
        render(record)


def test_points_are_few_and_lose_nothing() -> None:
    record = told("regression")[0]
    points = points_of(record, pause=5)
    assert 100 < len(points) <= 202
    assert total(p.candidate for p in points) == total(i.candidate for i in record.intervals)
    assert {(p.phase, p.step) for p in points} == {("step", 0), ("step", 1)}
    assert [p.step for p in phases_of(points)] == [0, 1]
    assert all(before.end <= after.start for before, after in pairwise(points))


def test_in_the_shadow_phase_the_same_requests_are_compared() -> None:
    record = told("good")[0]
    shadow, first, _ = phases_of(points_of(record, pause=5))
    pairs = total_pairs(i.pairs for i in record.of_phase("shadow"))
    assert (shadow.stable.latency, shadow.stable.labels) == (
        pairs.stable.latency,
        pairs.stable.labels,
    )
    assert shadow.candidate.scores == pairs.candidate.scores
    steps = [i for i in record.of_phase("step") if i.step == 0]
    assert first.stable.latency == total(i.stable for i in steps).latency


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    points = points_of(told("under_way")[0], pause=5)
    assert paused(points) == pytest.approx(95)
    _, y = line_of(points, [1.0] * len(points))
    # Once for the pause, once between the phases.
    assert sum(value != value for value in y) == 2
    assert paused(points_of(told("under_way")[0], pause=100)) == 0


def test_the_mean_loss_is_that_of_the_phase_so_far() -> None:
    record = told("good")[0]
    points = points_of(record, pause=5)
    means = mean_losses(points, lambda point: point.stable)
    steps = total(i.stable for i in record.of_phase("step")).labelled
    shadow = total(i.pairs.stable for i in record.of_phase("shadow")).labelled
    assert means[-1] == pytest.approx(steps.loss / steps.requests)
    last_of_shadow = sum(point.phase == "shadow" for point in points) - 1
    assert means[last_of_shadow] == pytest.approx(shadow.loss / shadow.requests)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_quantile_is_as_near_as_the_bins_are_fine(share: float) -> None:
    values = np.random.default_rng(1).lognormal(-5, 0.7, 5000)
    edges = HistogramBuckets().latency
    found = quantile(counts(values, edges), edges, share)
    assert found == pytest.approx(np.quantile(values, share), rel=0.05)


def test_quantiles_at_the_ends_of_a_histogram() -> None:
    assert quantile({}, (1.0, 2.0), 0.5) is None
    assert quantile({0: 4}, (1.0, 2.0), 0.5) == 0.5
    assert quantile({2: 4}, (1.0, 2.0), 0.5) == 2.0
    assert quantile({1: 1}, (1.0, 2.0), 1.0) == 2.0


def test_densities_are_shares_or_shares_by_unit() -> None:
    assert bins_of((0.5,)) == [-0.5, 0.5, 1.5]
    bounds = bins_of(HistogramBuckets().scores)
    assert (bounds[0], bounds[-1]) == (0.0, 1.0)
    assert densities({0: 1, 2: 3}, [0, 1, 2, 4], even=True) == [25, 0, 75]
    assert densities({0: 1, 2: 3}, [0, 1, 2, 4], even=False) == [25, 0, 37.5]
    assert densities({}, [0, 1, 2], even=True) == [0, 0]
