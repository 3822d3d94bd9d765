"""The champion as the caller of an evaluation knows it, and which models can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.errors import InputError
from penstock.records.dataset import ColumnType, Dataset
from penstock.records.evaluation import CHAMPION, ChampionState
from penstock.records.model import Model

NUMBERS: tuple[ColumnType, ...] = ("integer", "number")
"""Types between which a column may differ."""


@dataclass(frozen=True)
class Champion:
    """The model to beat. One that is not there is a case of its own, not the same as none.

    Args:
        uri: `models:/name/version`; empty takes the digest of the folder.
        folder: Its model folder; None where it could not be had.
        problem: Why there is no folder, in a sentence.
        gone: There was a champion, but no version is it now.
    """

    uri: str = ""
    folder: Path | None = None
    problem: str = ""
    gone: bool = False


@dataclass(frozen=True)
class ChampionStatus:
    """What became of the champion in an evaluation; see `ChampionState`.

    Args:
        state: The case.
        name: Its uri, or its digest; empty where there is none or neither is known.
        note: Why it was not compared, in a sentence or two; empty if it was.
    """

    state: ChampionState = "none"
    name: str = ""
    note: str = ""


def absent(champion: Champion | None) -> ChampionStatus:
    """Return the status of a champion without a folder."""
    if champion is None:
        return ChampionStatus()
    if champion.gone:
        return ChampionStatus("gone", champion.uri, champion.problem)
    return ChampionStatus(
        "unloadable", champion.uri, champion.problem or "Its files were not given."
    )


def check_comparable(name: str, other: Model, record: Model, dataset: Dataset) -> None:
    """Refuse a model whose figures on a holdout cannot be compared with the candidate's.

    Args:
        name: What it is called: candidate, champion, or a baseline's name.
        other: Its record.
        record: The candidate's.
        dataset: The holdout's.

    Raises:
        InputError: If it predicts something else, or takes columns that the holdout does not have
            or has in another type.
    """
    _check_same_question(name, other, record)
    _check_columns(name, other, dataset)


def _check_same_question(name: str, other: Model, record: Model) -> None:
    """Refuse a model that predicts something else: its figures could not be compared."""
    for what in ("task", "target", "classes", "positive"):
        theirs, ours = getattr(other, what), getattr(record, what)
        if theirs != ours:
            raise InputError(
                f"its {what} is {theirs!r}, the candidate's is {ours!r}",
                where=f"the {name}",
                remedy=_remedy(name),
            )


def _check_columns(name: str, record: Model, dataset: Dataset) -> None:
    absent = [column.name for column in record.columns if dataset.column(column.name) is None]
    if absent:
        raise InputError(
            f"it takes columns that the holdout does not have: {', '.join(map(repr, absent))}",
            where=f"the {name}",
            remedy=_remedy(name),
        )
    for column in record.columns:
        found = dataset.column(column.name)
        if found is None or found.type == column.type:
            continue
        if not {found.type, column.type} <= set(NUMBERS):
            raise InputError(
                f"it takes column {column.name!r} as {column.type}, the holdout has it as "
                f"{found.type}",
                where=f"the {name}",
                remedy=_remedy(name),
            )


def _remedy(name: str) -> str:
    if name == CHAMPION:
        return (
            "It cannot be compared on the same rows. Release under another name; to replace it "
            "unseen, set severity: warn for one release in gate.champion and gate.classes."
        )
    return "Train again on the part that was split off together with this holdout."
