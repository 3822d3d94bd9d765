"""The command `penstock gate`: measure one model and judge it by a policy."""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common import files
from penstock.errors import InputError, UsageError
from penstock.pipelines.judging import REGISTERED, Order, in_store, judge
from penstock.pipelines.located import Located, add_store_options, locate, store_of
from penstock.pipelines.outcomes import EXIT_CODES
from penstock.pipelines.view import beside_lines, rule_lines

if TYPE_CHECKING:
    from penstock.data.spec import SourceSpec
    from penstock.evaluation.spec import EvaluationSpec
    from penstock.gate.policy import Policy


def add_gate_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `penstock`."""
    command = commands.add_parser(
        "gate",
        help="judge one model by a policy, for example in CI",
        description=_gate.__doc__,
        epilog="Exit codes: 0 approved, 3 refused, 1 failed, 2 usage.",
    )
    command.add_argument(
        "--policy",
        type=Path,
        required=True,
        metavar="FILE",
        help="YAML: the policy itself, or a project file, whose sections gate, evaluation and "
        "source then count",
    )
    command.add_argument(
        "--model", default="", help="models:/NAME/VERSION, models:/NAME@ALIAS or a model folder"
    )
    command.add_argument(
        "--data",
        default="",
        help="rows that the model has not seen: a dataset folder, or a table (Parquet, CSV …)",
    )
    command.add_argument(
        "--champion",
        default="",
        metavar="MODEL",
        help="what to compare with, in the form of --model, or none (default: the champion of the "
        "registered model)",
    )
    command.add_argument(
        "--baselines",
        type=Path,
        metavar="FOLDER",
        help="what train wrote beside the model (default: the trivial baseline, made again from "
        "the model's record of its training rows)",
    )
    add_store_options(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write the decision here")
    command.add_argument("--html", type=Path, metavar="FILE", help="write the decision's page here")
    command.add_argument(
        "--evaluation",
        type=Path,
        metavar="FOLDER",
        help="write what was measured here: evaluation.json and evaluation.html",
    )
    command.add_argument("--name", default="", help="what the pages call the model")
    command.add_argument(
        "--against-history",
        action="store_true",
        help="judge past decisions by the policy instead, from what was measured then: which would "
        "be others, and why (exit code 3 if one would, or if that cannot be known)",
    )
    command.set_defaults(command=_gate)


@dataclass(frozen=True)
class _Request:
    """The contents of the policy's file.

    Args:
        policy: The policy.
        spec: How to measure.
        source: How to read a table; None: the file is no project file.
        name: The project's name, or empty.
        located: The project, if the file is one's.
    """

    policy: Policy
    spec: EvaluationSpec
    source: SourceSpec | None = None
    name: str = ""
    located: Located | None = None


def _gate(options: argparse.Namespace) -> int:
    """Measure a model on rows that it has not seen and judge it by a policy.

    It does what the steps evaluate, probe_serving and decide do in a pipeline, by the same
    functions.
    """
    request = _request(options.policy)
    if options.against_history:
        from penstock.pipelines.gate_history import judge_history

        return judge_history(options, policy=request.policy, located=request.located)
    for option, value in (("--model", options.model), ("--data", options.data)):
        if not value:
            raise UsageError(
                "a model and rows that it has not seen are needed",
                where=option,
                remedy="Give both, or --against-history to judge past decisions.",
            )
    order = Order(
        policy=request.policy,
        spec=request.spec,
        model=options.model,
        data=options.data,
        champion=options.champion,
        baselines=options.baselines,
        source=request.source,
        name=options.name or request.name,
        image=os.environ.get("PENSTOCK_IMAGE", ""),
    )
    with in_store(_tracking_uri(options, request)), tempfile.TemporaryDirectory() as place:
        decision, evaluation = judge(
            order, scratch=Path(place), page=options.evaluation is not None
        )
        _hand_over(options, Path(place))
    for line in (*rule_lines(decision), *beside_lines(evaluation), decision.reason()):
        print(line)
    return EXIT_CODES["released" if decision.approved else "refused"]


def _hand_over(options: argparse.Namespace, scratch: Path) -> None:
    """Copy the files that the options name, only now that all of them are complete."""
    copies = [(scratch / "decision.json", options.json), (scratch / "decision.html", options.html)]
    if options.evaluation:
        copies += [
            (scratch / name, options.evaluation / name)
            for name in ("evaluation.json", "evaluation.html")
        ]
    for made, to in copies:
        if to is not None:
            files.write_text(to, made.read_text(encoding="utf-8"))


def _request(path: Path) -> _Request:
    """Read a policy, or a project file that holds one.

    A project file is checked as a whole: a section that is misspelled would leave out its rules.
    """
    from penstock.common.yaml_file import read_mapping
    from penstock.evaluation.spec import EvaluationSpec
    from penstock.gate.policy import UNREADABLE, Policy

    try:
        raw = read_mapping(path, what="policy", remedy=UNREADABLE)
        if not {"name", "target", "source"} & set(raw):
            return _Request(policy=Policy.load(path), spec=EvaluationSpec())
        found = locate(path)
    except InputError as error:
        raise UsageError(error.what, where=error.where, remedy=error.remedy) from error
    return _Request(
        policy=found.project.gate,
        spec=found.project.evaluation,
        source=found.project.source,
        name=found.project.name,
        located=found,
    )


def _tracking_uri(options: argparse.Namespace, request: _Request) -> str:
    """Return the store of the registered models that are named; empty if none is."""
    if not any(text.startswith(REGISTERED) for text in (options.model, options.champion)):
        return ""
    if request.located is None or options.project:
        return store_of(options)[0]
    return options.tracking_uri or request.located.registry
