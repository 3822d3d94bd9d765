"""A validation as a page, for somebody who does not know Great Expectations."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.quality import wording
from penstock.quality.spec import Expectation
from penstock.records.dataset import Dataset, ProfiledColumn
from penstock.records.quality import Finding, Severity, Validation
from penstock.reports.page import Cell, Section, Tone, page, paragraph, table

_Noted = tuple[Finding, str]
"""A finding, and why its author put the check there."""


def validation_page(
    validation: Validation, *, dataset: Dataset, expectations: Sequence[Expectation]
) -> str:
    """Return a validation as self-contained HTML: the verdict, what failed, then everything.

    Args:
        validation: What was found; its last findings are those of the expectations, in order.
        dataset: The record of the data that were checked.
        expectations: The suite.
    """
    noted = _with_notes(validation, expectations)
    return page(
        title=_name(dataset),
        kind="Validation",
        status="good" if validation.passed else "bad",
        verdict=validation.reason(),
        facts=[
            ("Rows", f"{validation.rows:,}"),
            ("Columns", f"{len(dataset.columns)}"),
            ("Checks", f"{len(noted)}"),
            *_quarantined(validation),
            ("Source", dataset.source_text),
            ("Dataset version", validation.dataset),
            ("Suite", validation.suite),
        ],
        sections=[
            *_broken(noted, validation),
            *_taken_out(noted, validation),
            _everything(noted),
            _columns(dataset),
        ],
    )


def _quarantined(validation: Validation) -> list[tuple[str, str]]:
    apart = validation.quarantine
    if apart is None or not apart.kept:
        return []
    return [
        ("Quarantined", f"{apart.rows:,} rows ({apart.share:.3g} of all), {apart.content}"),
        ("Went on", f"{apart.of - apart.rows:,} rows, {apart.kept}"),
    ]


def _taken_out(noted: Sequence[_Noted], validation: Validation) -> list[Section]:
    """Return the section on rows that break checks of single rows, if that was looked at."""
    apart = validation.quarantine
    if apart is None:
        return []
    headers = ["Check", "Column", "Rows quarantined for it", "What was found"]
    rows: list[list[str | Cell]] = [
        [
            Cell(wording.title(finding.check), strong=True),
            finding.column,
            f"{finding.quarantined:,}",
            finding.sentence,
        ]
        for finding, _ in noted
        if finding.quarantined is not None
    ]
    lead = f"{apart.sentence()} A row that breaks several checks is counted for each, and once."
    body = table(headers, rows, numeric=(2,)) if rows else ""
    return [Section(title="Quarantine", lead=lead, body=body)]


def _name(dataset: Dataset) -> str:
    name = dataset.source.rstrip("/").rsplit("/", 1)[-1] or dataset.source
    return f"{name}, {dataset.part} part" if dataset.part else name


def _with_notes(validation: Validation, expectations: Sequence[Expectation]) -> list[_Noted]:
    schema = len(validation.findings) - len(expectations)
    notes = [""] * schema + [_note(expectation) for expectation in expectations]
    return list(zip(validation.findings, notes, strict=True))


def _note(expectation: Expectation) -> str:
    notes = expectation.meta.get("notes", "")
    if isinstance(notes, dict):  # Great Expectations' own form: {"format": …, "content": …}
        notes = notes.get("content", "")
    return " ".join(map(str, notes)) if isinstance(notes, list) else str(notes)


_GROUPS: dict[Severity, tuple[str, str]] = {
    "block": ("Refused by", "Checks of severity block that failed: each alone refuses the data."),
    "warn": ("Warnings", "Checks of severity warn that failed. The data pass all the same."),
    "info": ("For information", "Checks of severity info that failed. They are only listed."),
}


def _broken(noted: Sequence[_Noted], validation: Validation) -> list[Section]:
    sections = []
    for severity, (title, lead) in _GROUPS.items():
        broken = [pair for pair in noted if pair[0] in validation.failures(severity)]
        if broken:
            sections.append(Section(title=title, lead=lead, body=_failures(broken)))
    return sections


def _failures(noted: Sequence[_Noted]) -> str:
    headers = ["Check", "What was found", "More examples", "Why it is checked"]
    rows: list[list[str | Cell]] = [
        [
            Cell(wording.title(finding.check), strong=True),
            finding.sentence,
            ", ".join(finding.samples[wording.EXAMPLES :]),
            note,
        ]
        for finding, note in noted
    ]
    filled = [
        position for position in range(len(headers)) if any(row[position] != "" for row in rows)
    ]
    return table(
        [headers[position] for position in filled],
        [[row[position] for position in filled] for row in rows],
    )


def _everything(noted: Sequence[_Noted]) -> Section:
    body = table(
        ["Check", "Column", "Result", "Severity", "Checked", "Broken", "What was found"],
        [_row(finding) for finding, _ in noted],
        numeric=(4, 5),
    )
    if not any(finding.check.startswith("expect_") for finding, _ in noted):
        body = (body if noted else "") + paragraph(
            "There were no expectations, so no value was looked at. `penstock init` proposes some."
        )
    return Section(
        title="Everything that was checked",
        lead="Severity block: data that break the check are refused, or the rows that do are "
        "quarantined. warn: that is shown as a warning. info: it is only listed.",
        body=body,
    )


_TONES: dict[str, Tone] = {"block": "bad", "warn": "warn", "info": "plain"}


def _row(finding: Finding) -> list[str | Cell]:
    if finding.passed:
        result = Cell("holds", tone="good")
    elif finding.quarantined is not None:
        result = Cell("quarantined", tone="warn")
    else:
        result = Cell("broken", tone=_TONES[finding.severity])
    return [
        wording.title(finding.check),
        finding.column,
        result,
        finding.severity,
        "" if finding.checked is None else f"{finding.checked:,}",
        "" if finding.unexpected is None else f"{finding.unexpected:,}",
        finding.sentence,
    ]


def _columns(dataset: Dataset) -> Section:
    return Section(
        title="The columns",
        lead="What the data hold, whatever is expected of them.",
        body=table(
            ["Column", "Type", "Missing", "Different values", "From", "To", "Commonest"],
            [_profile(column, dataset.rows) for column in dataset.columns],
            numeric=(2, 3, 4, 5),
        ),
    )


def _profile(column: ProfiledColumn, rows: int) -> list[str | Cell]:
    profile = column.profile
    low, high = profile.minimum, profile.maximum
    ends = [
        "" if end is None else end.isoformat(sep=" ", timespec="seconds")
        for end in (profile.earliest, profile.latest)
    ]
    if low is not None and high is not None:
        ends = [wording.figure(low), wording.figure(high)]
    return [
        Cell(column.name, strong=True),
        column.type,
        f"{profile.nulls / rows:.1%}" if profile.nulls else "none",
        f"{profile.distinct:,}",
        *ends,
        ", ".join(level.value for level in profile.top[:3]),
    ]
