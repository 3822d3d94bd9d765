"""What is said of a rollout in a terminal and in a summary."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import get_args

import pytest
import yaml
from rollout_stories import STORIES, finding, good, under_way, with_errors

from penstock.records.rollout import ArmSummary, Finding
from penstock.rollout.analysis.judge import abort, judge
from penstock.rollout.spec import AbortSpec, CanarySpec, DeploymentSpec, Fault, RulesSpec
from penstock.rollout.words import (
    FAULTS,
    RULES,
    bound_text,
    duration,
    figure_text,
    first_sentence,
    headline,
    percent,
    status_lines,
)

GUIDE = (Path(__file__).parents[3] / "docs/canary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "good",
            "Version 7 of fraud was promoted over version 6. 5 rules passed and none is open.",
        ),
        (
            "crashed_at_start",
            "Fault injection (crash-at-start): Version 7 of fraud was rolled back; version 6 still "
            "serves. The candidate did not come up. version 7: its server ended with code 1 before "
            "it was ready.",
        ),
        (
            "under_way",
            "Version 7 of fraud is at step 1 of 3 with 10 % of new requests; version 6 has the "
            "rest.",
        ),
        (
            "planned",
            "Version 7 of fraud is being started beside version 6, without traffic yet.",
        ),
    ],
)
def test_headline(name: str, sentence: str) -> None:
    assert headline(STORIES[name]()) == sentence


def test_headlines_of_what_is_not_done_or_went_without_comparison() -> None:
    record = good()
    shadow = record.model_copy(update={"outcome": None, "transitions": record.transitions[:2]})
    assert headline(shadow).endswith(
        "gets mirrored requests of version 6; its responses are not used."
    )
    promoting = record.model_copy(update={"outcome": None, "transitions": record.transitions[:5]})
    assert "is being promoted. 5 rules passed" in headline(promoting)
    by_hand = record.model_copy(update={"direct": "Rollback by me.", "reason": "Rollback by me."})
    assert headline(by_hand) == "Version 7 of fraud replaced version 6. Rollback by me."
    nothing = with_errors().model_copy(update={"stable": None})
    assert "; no version serves. 5.3 %" in headline(nothing)


def test_status_says_where_it_stands_and_what_each_rule_says() -> None:
    lines = status_lines(under_way())
    text = "\n".join(lines)
    assert lines[0] == (
        "  Rollout       Version 7 of fraud is at step 1 of 3 with 10 % of new requests; "
        "version 6 has the rest."
    )
    assert re.search(r"version 7: [\d,]+ requests in this phase, 0 % 5xx, 0 % 4xx", text)
    assert re.search(r"Rules +pass +server errors: The candidate's errors", text)
    assert re.search(r"not judged +labels: No labels have come\.", text)
    assert re.search(r"Next +penstock rollout approve", text)


def test_status_says_why_users_are_not_counted() -> None:
    record = under_way()
    blind = record.intervals[-1].model_copy(update={"blind": "Prometheus is away."})
    lines = status_lines(record.model_copy(update={"intervals": (*record.intervals, blind)}))
    assert any("Prometheus is away." in line for line in lines)


def test_status_takes_what_the_rules_say_now() -> None:
    now = (finding("latency"), finding("agreement", "fail", "Now it fails."))
    lines = status_lines(under_way(), findings=now)
    rules = [line for line in lines if "pass" in line or "fail" in line]
    # What decides comes first.
    assert rules[0] == "  Rules         fail         agreement: Now it fails."
    assert len(rules) == 2


@pytest.mark.parametrize("name", STORIES)
def test_status_is_one_line_for_each_thing(name: str) -> None:
    for line in status_lines(STORIES[name]()):
        assert line == line.rstrip()
        assert "\n" not in line


def test_every_rule_has_its_unit() -> None:
    """The analysis gives the rules their names; a figure without its unit would mislead."""
    record = with_errors()
    rules = CanarySpec.model_validate(record.plan).rules
    findings = judge(
        record.intervals,
        phase="shadow",
        step=0,
        rules=rules,
        min_samples=300,
        grids=record.grids,
        task="binary",
    )
    burst = record.intervals[-1].model_copy(
        update={"candidate": ArmSummary(requests=40, server_errors=40)}
    )
    ended = abort([burst], abort=AbortSpec())
    assert ended is not None
    assert {finding.rule for finding in (*findings, ended)} == set(RULES)


def test_every_fault_is_explained_and_in_the_guide() -> None:
    assert set(FAULTS) == set(get_args(Fault)) - {""}
    assert all(f"`{fault}`" in GUIDE for fault in FAULTS)


def test_the_guide_shows_the_defaults() -> None:
    example = re.search(r"\n    deployment:\n(?:    .*\n)+", GUIDE)
    assert example
    shown = yaml.safe_load(textwrap.dedent(example.group()))["deployment"]
    assert DeploymentSpec.model_validate(shown).canary == CanarySpec()
    # What is left at its default without a word would show nothing.
    assert set(shown["canary"]["rules"]) == set(RulesSpec.model_fields)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (4.25, "4.2 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3900, "1 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.0013, "0.13 %"), (0.053, "5.3 %"), (0.9951, "99.51 %"), (1, "100 %")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            finding("errors", value=-0.0012, low=-0.01, high=0.004),
            "\N{MINUS SIGN}0.1 points (\N{MINUS SIGN}1 to 0.4)",
        ),
        (finding("scores", value=0.03, low=None, high=0.06), "0.03 (up to 0.06)"),
        (finding("labels", value=-0.0004, low=None, high=0.0312), "0 (up to 0.031)"),
        (finding("anything", value=1234.5, low=None, high=None), "1,234.5"),
        (finding("anything", "not judged", value=None), "none"),
    ],
)
def test_a_figure_has_its_unit_and_its_interval(given: Finding, text: str) -> None:
    assert figure_text(given) == text


def test_a_bound_says_on_which_side_the_figure_must_be() -> None:
    assert bound_text(finding("errors")) == "\N{LESS-THAN OR EQUAL TO} 2 points"
    least = finding("agreement", bound=0.8)
    assert bound_text(least) == "\N{GREATER-THAN OR EQUAL TO} 80 %"
    assert bound_text(finding("agreement", bound=None)) == "none"


def test_a_long_reason_is_cut_to_its_first_sentence() -> None:
    assert first_sentence("It died. Look here: 1.5 GB.\nlog") == "It died"
    assert first_sentence("1.5 is the bound, e.g. here") == "1.5 is the bound, e.g. here"
    assert len(first_sentence("x" * 900)) == 240
