"""The page that says what became of every column."""

from __future__ import annotations

from penstock.features.statistics import count_text
from penstock.records.features import FeatureColumn, Features
from penstock.reports.page import Cell, Section, page, table

_SHOWN = 8


def render(record: Features) -> str:
    """Return the feature report as a whole HTML document."""
    used = [column for column in record.columns if column.kind != "drop"]
    dropped = [column for column in record.columns if column.kind == "drop"]
    sections = [
        Section(
            title="Columns that are used",
            lead="Every raw column the model takes, in order. The same fitted object transforms "
            "them in training and in serving.",
            body=_used_table(used, rows=record.rows),
        )
    ]
    if dropped:
        sections.append(
            Section(
                title="Columns that are left out",
                lead="The model neither needs nor sees these. Declare a kind in features.columns "
                "to use one after all.",
                body=table(
                    ("Column", "Stored as", "Decided", "Reason", "Missing", "Different values"),
                    [
                        (
                            Cell(c.name, strong=True),
                            c.type,
                            c.chosen,
                            c.reason,
                            _share(c.missing, record.rows),
                            count_text(c.distinct),
                        )
                        for c in dropped
                    ],
                    numeric=(4, 5),
                ),
            )
        )
    categories = [column for column in used if column.kind == "category"]
    if categories:
        sections.append(_levels_section(categories, rows=record.rows))
    return page(
        title=f"Features for {record.target}",
        kind="Features",
        status="plain",
        verdict=_own(record) + f"{len(used):,} of {len(record.columns):,} columns become "
        f"{len(record.outputs):,} features.",
        facts=(
            ("Target", record.target),
            ("Rows fitted on", f"{record.rows:,}"),
            ("Dataset", record.dataset),
            ("Transformer", record.transformer),
        ),
        sections=sections,
    )


def _own(record: Features) -> str:
    """Return who makes the features, where it is not Penstock."""
    return "" if record.code is None else f"By {record.code.transformer}: "


def _used_table(used: list[FeatureColumn], *, rows: int) -> str:
    return table(
        ("Column", "Stored as", "Used as", "Decided", "Reason", "Missing", "Features"),
        [
            (
                Cell(c.name, strong=True),
                c.type,
                c.kind,
                c.chosen,
                c.reason,
                _share(c.missing, rows),
                f"{len(c.outputs):,}",
            )
            for c in used
        ],
        numeric=(5, 6),
    )


def _levels_section(categories: list[FeatureColumn], *, rows: int) -> Section:
    return Section(
        title="Levels of the categories",
        lead="Rare levels, and levels that were not seen in training, count as one.",
        body=table(
            ("Column", "Commonest levels", "Kept", "Merged as rare", "Rows in rare levels"),
            [
                (
                    Cell(c.name, strong=True),
                    _levels(c, rows),
                    f"{len(c.levels):,}",
                    count_text(c.rare_levels),
                    _share(c.rare_rows, rows),
                )
                for c in categories
            ],
            numeric=(2, 3, 4),
        ),
    )


def _levels(column: FeatureColumn, rows: int) -> str:
    shown = ", ".join(
        f"{level.value:.40} ({_share(level.rows, rows)})" for level in column.levels[:_SHOWN]
    )
    return shown + (", …" if len(column.levels) > _SHOWN else "")


def _share(part: int, rows: int) -> str:
    return "0 %" if not part else f"{100 * part / rows:.2g} %"
