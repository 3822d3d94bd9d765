"""The rollout as a page for people: what was decided, on what evidence, and what to do now."""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock.records.rollout import Finding, Rollout, Verdict, total
from penstock.reports.page import (
    Cell,
    Section,
    Status,
    Tone,
    heading,
    muted,
    page,
    paragraph,
    preformatted,
    table,
)
from penstock.rollout import words
from penstock.rollout.spec import CanarySpec

_TONES: dict[Verdict, Tone] = {
    "pass": "good",
    "fail": "bad",
    "inconclusive": "warn",
    "not judged": "plain",
}
_LOG = re.compile(r"/\S+\.log\b")
_COUNTS_ALL = "local"
"""The router that every request of users passes, and that counts it."""
_PAUSE = 5.0
"""Seconds without measurement, in looks and at least, from which on a line is broken."""


def render(record: Rollout) -> str:
    """Return a rollout, finished or under way, as one self-contained HTML page.

    Args:
        record: The rollout.

    Raises:
        InputError: If the plan in the record is not one that this release understands.
    """
    plan = words.plan_of(record)
    status: dict[str | None, Status] = {"promoted": "good", "rolled_back": "bad"}
    return page(
        title=f"{record.service}, version {record.candidate}",
        kind="Rollout",
        status=status.get(record.outcome, "plain"),
        verdict=_verdict(record),
        notice=_fault(record),
        facts=_facts(record, plan),
        sections=[
            Section("What this means now", _now(record)),
            *_measured(record, plan),
            Section(
                "Decisions",
                "".join(_decision(record, number) for number in range(len(record.transitions))),
                "Every transition, with its evidence. Each was recorded before it was carried out.",
            ),
            _reading(record, plan),
        ],
    )


def _measured(record: Rollout, plan: CanarySpec) -> list[Section]:
    if not record.transitions:
        return []
    from penstock.rollout import report_plots, report_replicas
    from penstock.rollout.report_points import points_of
    from penstock.rollout.report_scene import scene_of

    points = points_of(record, pause=_PAUSE * max(plan.interval, 1.0))
    scene = scene_of(record, plan, points)
    sections: list[Section | None] = [
        report_plots.timeline(scene),
        report_replicas.section(scene),
    ]
    if any(point.stable.requests + point.candidate.requests for point in points):
        sections += [
            report_plots.errors(scene),
            report_plots.latency(scene),
            report_plots.scores(scene),
            report_plots.quality(scene),
        ]
    return [section for section in sections if section is not None]


def _verdict(record: Rollout) -> str:
    reason = " ".join(record.reason.partition("\n")[0].split())
    state = words.state(record)
    # The headline has the reason's first sentence; here is room for what follows it.
    rest = reason[len(words.first_sentence(reason)) :].lstrip(". ")
    return f"{state} {rest}" if rest and "…" not in state else state


def _fault(record: Rollout) -> str:
    if not record.fault:
        return ""
    what = words.FAULTS.get(record.fault)
    meaning = f": {what}" if what else ""
    return (
        f'Fault injection: the fault "{record.fault}" was added to the candidate\'s server on '
        f"purpose{meaning}. The model itself was not at fault."
    )


def _facts(record: Rollout, plan: CanarySpec) -> list[tuple[str, str]]:
    everything = total(arm for i in record.intervals for arm in (i.stable, i.candidate))
    copies = sum(interval.pairs.candidate.requests for interval in record.intervals)
    length = (words.ended(record) - record.started).total_seconds()
    return [
        ("Service", record.service),
        ("Candidate", f"version {record.candidate}"),
        ("Stable", "none yet" if record.stable is None else f"version {record.stable}"),
        ("Lasted" if record.outcome else "So far", words.duration(length)),
        (
            "Users' requests",
            f"{everything.requests - everything.replayed:,}"
            + ("" if record.router == _COUNTS_ALL else " were counted"),
        ),
        ("Replayed requests", f"{everything.replayed:,}"),
        ("Mirrored requests", f"{copies:,}"),
        ("Router", record.router),
        ("Date", words.clock(record.started)),
        ("Address", record.url),
        (
            "Plan",
            "all traffic at once, without a comparison" if record.direct else _plan_text(plan),
        ),
        *([] if record.direct else [("Traffic", _traffic_text(plan))]),
        ("Candidate's model", record.model),
        ("Decision", record.decision),
    ]


def _now(record: Rollout) -> str:
    stable = f"Version {record.stable}"
    if record.outcome is None:
        parts = [
            paragraph(
                "The rollout is not finished: this page shows its state when the page was written."
            )
        ]
    elif record.outcome == "promoted":
        parts = [
            paragraph(
                f"Version {record.candidate} serves every request at {record.url}, and the "
                "registry's alias champion points to it."
            )
        ]
    else:
        serving = (
            "No version serves, and the registry's alias champion is not set"
            if record.stable is None
            else f"{stable} serves every request at {record.url}, as before, and the registry's "
            "alias champion was not moved"
        )
        parts = [
            paragraph(f"{serving}. Version {record.candidate} has no traffic. {_met(record)}"),
            _against(record),
        ]
    end = words.last(record)
    if end is not None and end.phase == "done":
        parts.append(paragraph(f"Last record of the controller: {end.reason}"))
    logs = _LOG.findall(" ".join(t.reason for t in record.transitions))
    if logs:
        parts.append(
            paragraph("The candidate's log:") + preformatted("\n".join(dict.fromkeys(logs)))
        )
    commands = words.next_commands(record)
    if commands:
        shown = "\n".join(f"{command:<26}# {meaning}" for command, meaning in commands)
        parts.append(preformatted(shown))
    return "".join(parts)


def _against(record: Rollout) -> str:
    """Return what decided, where it was the rules."""
    decided = [t for t in record.transitions if t.phase == "rollback"]
    seen = [finding for transition in decided for finding in transition.findings]
    failed = [finding for finding in seen if finding.verdict == "fail"]
    found = failed or [finding for finding in seen if finding.verdict == "inconclusive"]
    if not found:
        return paragraph("The reason is above. Correct it, then release again.")
    return _findings(found) + paragraph(
        "These rules caused the rollback. The plots show when it began. Correct the cause, then "
        "release again."
    )


def _met(record: Rollout) -> str:
    """Return how many users' requests the candidate got."""
    arm = total(interval.candidate for interval in record.intervals)
    users = arm.requests - arm.replayed
    if record.router != _COUNTS_ALL:
        # Behind a gateway only those of the pods' figures are known, from scrape to scrape.
        return f"{users:,} of the users' requests to it were counted; there may have been more."
    if not users:
        return "It got none of the users' requests."
    return f"It got {users:,} of the users' requests."


def _decision(record: Rollout, number: int) -> str:
    transition = record.transitions[number]
    steps = len(words.plan_of(record).steps)
    places = [words.target_of(t, steps=steps) for t in record.transitions[: number + 1]]
    went = " → ".join(places[-2:])
    # To be done changes no weight.
    acted = record.transitions[number - 1] if transition.phase == "done" else transition
    weight = f"{acted.weight}\N{NO-BREAK SPACE}%"
    spent = (transition.time - record.started).total_seconds()
    moment = f"{words.clock(transition.time)}, {words.duration(max(spent, 0.0))} after the start"
    first, _, rest = transition.reason.strip().partition("\n")
    parts = [
        heading(f"{number + 1}. {went[0].upper()}{went[1:]}, candidate at {weight}"),
        muted(moment),
        paragraph(first),
    ]
    if rest.strip():
        parts.append(preformatted(rest.strip("\n")))
    if transition.findings:
        parts.append(_findings(transition.findings))
    return "".join(parts)


def _findings(findings: Sequence[Finding]) -> str:
    headers = ["Rule", "Verdict", "Why", "Figure", "Bound", "Samples"]
    return table(headers, [_finding(finding) for finding in words.in_order(findings)])


def _finding(finding: Finding) -> list[str | Cell]:
    return [
        Cell(words.rule_title(finding), strong=True),
        Cell(finding.verdict, tone=_TONES[finding.verdict]),
        finding.sentence,
        words.figure_text(finding),
        words.bound_text(finding),
        f"{finding.stable_samples:,} / {finding.candidate_samples:,}",
    ]


def _plan_text(plan: CanarySpec) -> str:
    weights = [f"{step.weight} %" + (" (held)" if step.hold else "") for step in plan.steps]
    shadow = ["mirrored requests only"] if plan.shadow.share else []
    return ", then ".join([*shadow, *weights, "all"])


def _traffic_text(plan: CanarySpec) -> str:
    replay = f"holdout rows replayed at {plan.traffic.rate:g} a second"
    return {
        "live": "users' requests only",
        "replay": replay,
        "both": f"users' requests and {replay}",
    }[plan.traffic.source]


def _reading(record: Rollout, plan: CanarySpec) -> Section:
    if record.direct:
        return Section("Terms", _terms())
    return Section("Plan and terms", _plan(plan) + _terms())


def _plan(plan: CanarySpec) -> str:
    rows: list[list[str | Cell]] = []
    if plan.shadow.share:
        rows.append(
            [
                Cell("Shadow", strong=True),
                f"mirrored, {words.percent(plan.shadow.share)} of requests",
                f"{plan.shadow.min_pairs:,}",
                words.duration(plan.shadow.min_seconds),
                words.duration(plan.shadow.max_wait),
            ]
        )
    for number, step in enumerate(plan.steps, start=1):
        rows.append(
            [
                Cell(f"Step {number}", strong=True),
                f"{step.weight} %" + (", held for approval" if step.hold else ""),
                f"{step.min_samples:,}",
                words.duration(step.min_seconds),
                words.duration(step.max_wait),
            ]
        )
    headers = ["Phase", "Candidate's traffic", "Min. requests", "Min. time", "Max. time"]
    return table(headers, rows, numeric=(2, 3, 4)) + paragraph(
        f"Max. time: if not every rule has passed by then, the candidate is rolled back. The whole "
        f"rollout may take {words.duration(plan.deadline)}. Too little evidence is never a pass."
    )


def _terms() -> str:
    rows: list[list[str | Cell]] = [
        [Cell(term, strong=True), meaning]
        for term, meaning in (
            ("Candidate", "The new version, which is compared with the stable one."),
            ("Stable", "The version that served before."),
            (
                "Shadow",
                "The candidate gets mirrored requests; users get the stable version's response.",
            ),
            ("Step", "The candidate serves a share of the users' requests: its weight."),
            (
                "Replayed",
                "Rows of the holdout, sent as requests so that there is enough to judge.",
            ),
            ("Figure", "What was measured, with its confidence interval."),
            ("Bound", "The highest or lowest allowed figure."),
            ("Samples", "Requests or rows behind the figure: stable version / candidate."),
            ("inconclusive", "Too little evidence for a verdict. It is not a pass."),
            ("not judged", "The rule does not apply or has no data, and blocks nothing."),
        )
    ]
    return table(["Term", "What it means here"], rows)
