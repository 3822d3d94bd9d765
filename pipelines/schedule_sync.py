"""Recurring runs made what a file in Git declares.

Kubeflow cannot change a recurring run (kubeflow/pipelines#3789), so each is named by a digest of
what it is to do: one that is declared and absent is created, one of ours that is no longer declared
is deleted, in this order. A sync that ends between the two leaves both, and the next one deletes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from penstock.pipelines.schedule import Schedules, is_paused
from penstock.pipelines.schedule_file import DIGITS, MARK, Declared

Action = Literal["create", "keep", "pause", "resume", "delete"]


@dataclass(frozen=True)
class Step:
    """One change, or none, that makes Kubeflow what the file says.

    Attributes:
        action: What is done.
        name: Of the recurring run.
        why: In words, for people.
        declared: What is created; None: one is there.
        id: Of the recurring run that is there.
        paused: Whether what is created starts no runs until it is resumed.
    """

    action: Action
    name: str
    why: str
    declared: Declared | None = None
    id: str = ""
    paused: bool = False


def steps(declared: Sequence[Declared], there: Sequence[Any], *, project: str) -> list[Step]:
    """Return what makes Kubeflow what the file says; deletions come last.

    Args:
        declared: What is to be there.
        there: The recurring runs that are there, as Kubeflow lists them.
        project: The project's name; recurring runs that no sync of it made are left alone.
    """
    kept: set[str] = set()
    made = [step for one in declared for step in _kept(one, there, kept)]
    keys = {one.key for one in declared}
    gone = [
        Step(
            "delete",
            each.display_name,
            "another one replaces it" if key in keys else "no longer declared",
            id=each.recurring_run_id,
        )
        for each in there
        if each.recurring_run_id not in kept and (key := _ours(each, project)) is not None
    ]
    return made + gone


def _kept(one: Declared, there: Sequence[Any], kept: set[str]) -> Iterator[Step]:
    """Yield what is created, or what is to be done with the one that is there; note its id."""
    same = [each for each in there if each.display_name == one.name]
    if not same:
        before = [each for each in there if _ours(each, one.project.name) == one.key]
        stays = bool(before) and all(map(is_paused, before))
        paused = stays if one.paused is None else one.paused
        yield Step("create", one.name, one.when, declared=one, paused=paused)
        return
    kept.add(same[0].recurring_run_id)
    action: Action = "keep"
    if one.paused is not None and one.paused != is_paused(same[0]):
        action = "pause" if one.paused else "resume"
    yield Step(action, one.name, one.when, id=same[0].recurring_run_id)


def _ours(schedule: Any, project: str) -> str | None:
    """Return the name in the file of a recurring run that a sync of this project made."""
    mark = re.escape(f"{MARK}{project}/")
    said = re.fullmatch(rf"{mark}([-a-z0-9]+)", schedule.description or "")
    name = rf"{project}-{said[1]}-[0-9a-f]{{{DIGITS}}}" if said else ""
    return said[1] if said and re.fullmatch(name, schedule.display_name) else None


def carry_out(step: Step, schedules: Schedules) -> None:
    """Do one step.

    Raises:
        ServiceError: If Kubeflow does not take it.
    """
    if step.declared is not None:
        one = step.declared
        schedules.add(
            one.project, one.made, one.plan, name=step.name, says=one.mark, paused=step.paused
        )
    elif step.action == "delete":
        schedules.delete(step.id)
    elif step.action == "pause":
        schedules.pause(step.id)
    elif step.action == "resume":
        schedules.resume(step.id)


def counted(done: Sequence[Step]) -> str:
    """Return how many steps there are of each kind, in words."""
    words: Mapping[Action, str] = {
        "create": "created",
        "delete": "deleted",
        "pause": "paused",
        "resume": "resumed",
        "keep": "as declared",
    }
    counts = {word: sum(step.action == action for step in done) for action, word in words.items()}
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return said or "Nothing is declared, and nothing was there"
