"""The champion as whoever asks for an evaluation knows it: its files, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.records.evaluation import ChampionState


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
class Standing:
    """How the champion stands in an evaluation; see `ChampionState`.

    Args:
        state: The case.
        name: Its uri, or its digest; empty where there is none or neither is known.
        note: Why it was not compared, in a sentence or two; empty if it was.
    """

    state: ChampionState = "none"
    name: str = ""
    note: str = ""


def absent(champion: Champion | None) -> Standing:
    """Return the standing of a champion without a folder."""
    if champion is None:
        return Standing()
    if champion.gone:
        return Standing("gone", champion.uri, champion.problem)
    return Standing("unloadable", champion.uri, champion.problem or "Its files were not given.")
