"""`penstock gate --against-history`: what a policy would have decided in the past."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.errors import InputError, PenstockError, UsageError
from penstock.pipelines.judging import REGISTERED
from penstock.pipelines.located import FILE, Located, locate, store_of
from penstock.pipelines.outcomes import EXIT_CODES
from penstock.pipelines.outputs import POLICY, Outputs

if TYPE_CHECKING:
    from penstock.gate.history import PastDecision, WhatIf
    from penstock.gate.policy import Policy
    from penstock.registry.past_decisions import Unread


def judge_history(options: argparse.Namespace, *, policy: Policy, located: Located | None) -> int:
    """Judge past decisions by a policy, print what would be other, and return the exit code.

    Args:
        options: Of `penstock gate`: the model, the store, where to write JSON.
        policy: The policy to judge by.
        located: The project that the policy is of, if it is one's.
    """
    from penstock.gate.history import judge_again, replays

    project = _project(options, located)
    past, unread = _decisions(options, project, policy=policy)
    if not past and not unread:
        raise InputError(
            f"no decision on {_whose(options, project)} is known, so that nothing was judged",
            where="--against-history",
            remedy="Correct the name or the store; what has decided nothing has no history.",
        )
    judged = [judge_again(one, policy=policy) for one in past]
    replayed = {one.name: replays(one) for one in past}
    if options.json:
        _write(options.json, policy=policy, judged=judged, unread=unread, replayed=replayed)
    for line in _lines(judged, unread, replayed):
        print(line)
    stays = all(one.after == one.before for one in judged) and not unread
    return EXIT_CODES["released" if stays else "refused"]


def _whose(options: argparse.Namespace, project: Located | None) -> str:
    return options.model or (project.project.name if project else "")


def _project(options: argparse.Namespace, located: Located | None) -> Located | None:
    if options.project is not None:
        return locate(options.project)
    return located or (locate(FILE) if FILE.is_file() else None)


def _decisions(
    options: argparse.Namespace, project: Located | None, *, policy: Policy
) -> tuple[list[PastDecision], list[Unread]]:
    from penstock.registry.past_decisions import of_registry

    name = options.model.removeprefix(REGISTERED).partition("/")[0].partition("@")[0]
    if project is None:
        if not name:
            raise UsageError(
                "whose decisions is not known",
                where="--against-history",
                remedy="Name the project with --project FILE, or the model with --model "
                "models:/NAME.",
            )
        return of_registry(name, tracking_uri=store_of(options)[0])
    own = project.project.name
    past, unread = of_registry(name or own, tracking_uri=options.tracking_uri or project.registry)
    if name in ("", own):
        known = [one.policy for one in past if one.policy] + [project.project.gate, policy]
        past += _refused_here(project.home, {each.digest(): each for each in known}, unread)
    return past, unread


def _refused_here(
    home: Path, policies: Mapping[str, Policy], unread: list[Unread]
) -> Iterator[PastDecision]:
    """Yield the decisions of runs on this machine that refused a model, the newest first."""
    from penstock.gate.evaluation import Evaluation
    from penstock.gate.history import PastDecision
    from penstock.records.decision import Decision
    from penstock.records.operations import Operations
    from penstock.registry.past_decisions import Unread, require_grounds

    for run in sorted((home / "runs").glob("*/"), reverse=True):
        found = Outputs(run / "kfp")
        try:
            decision = found.record(Decision, "decide", "decision")
            if decision is None or decision.approved:
                continue
            places = {
                "evaluation": found.path("evaluate", "evaluation"),
                "operations": found.path("probe-serving", "operations"),
            }
            require_grounds(
                decision, {kind: path or run for kind, path in places.items()}, where=str(run)
            )
            evaluation = found.record(Evaluation, "evaluate", "evaluation")
            operations = found.record(Operations, "probe-serving", "operations")
        except PenstockError as error:
            unread.append(Unread(f"run {run.name}", str(error)))
            continue
        if evaluation is not None:
            yield PastDecision(
                name=f"run {run.name}",
                decision=decision,
                evaluation=evaluation,
                policy=_policy_of(run, decision.policy) or policies.get(decision.policy),
                operations=operations if decision.operations else None,
            )


def _policy_of(run: Path, digest: str) -> Policy | None:
    """Return the policy that a run judged by; None: it was not kept, or is another."""
    from penstock.gate.policy import Policy

    try:
        raw = json.loads((run / POLICY).read_text(encoding="utf-8"))
        policy = Policy.decided_on(raw, where=POLICY)
    except (OSError, ValueError, TypeError, PenstockError):
        return None
    return policy if policy.digest() == digest else None


def _lines(
    judged: Sequence[WhatIf], unread: Sequence[Unread], replayed: Mapping[str, bool | None]
) -> Iterator[str]:
    for one in judged:
        after = "not known" if one.after is None else _word(one.after)
        yield f"{one.name}: {_word(one.before)} -> {after}"
        yield from (f"    {change}" for change in one.changes)
        yield from (f"    not known: {why}" for why in one.unknown)
        if replayed[one.name] is False:
            yield "    Its own policy gives another decision with this release of Penstock."
    for name, reason in unread:
        yield f"{name}: cannot be judged again. {reason}"
    flipped = sum(one.flips for one in judged)
    unknown = sum(one.after is None for one in judged) + len(unread)
    same = sum(same is True for same in replayed.values())
    yield (
        f"Of {len(judged) + len(unread)} past decisions {flipped} would be other, {unknown} cannot "
        f"be known. Judged by its own policy again, {same} of {len(judged)} are the same to the "
        "bit."
    )


def _word(approved: bool) -> str:
    return "approved" if approved else "refused"


def _write(
    path: Path,
    *,
    policy: Policy,
    judged: Sequence[WhatIf],
    unread: Sequence[Unread],
    replayed: Mapping[str, bool | None],
) -> None:
    decisions: list[dict[str, Any]] = [
        vars(one) | {"flips": one.flips, "replayed": replayed[one.name]} for one in judged
    ]
    unjudged = [one._asdict() for one in unread]
    found = {"policy": policy.digest(), "decisions": decisions, "not_judged": unjudged}
    files.write_text(path, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
