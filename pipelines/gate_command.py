"""The command `penstock gate`: measure one model and judge it by a policy."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.errors import InputError, UsageError
from penstock.pipelines.located import Located, add_store_options, locate, store_of
from penstock.pipelines.outcomes import EXIT_CODES
from penstock.pipelines.view import beside_lines, rule_lines

if TYPE_CHECKING:
    from penstock.data.spec import SourceSpec
    from penstock.evaluation.spec import EvaluationSpec
    from penstock.gate.compared import Champion
    from penstock.gate.evaluation import Evaluation
    from penstock.gate.policy import Policy
    from penstock.records.dataset import Dataset
    from penstock.records.decision import Decision
    from penstock.records.model import Model

NONE = "none"

_REGISTERED = "models:/"
_CHAMPION = "@champion"
_TEXTS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")


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
    if not options.champion and not options.model.startswith(_REGISTERED):
        raise UsageError(
            "a model folder does not name the champion that it would replace",
            where="--champion",
            remedy="Name it, for example models:/NAME@champion, or give --champion none.",
        )
    with _store(_tracking_uri(options, request)), tempfile.TemporaryDirectory() as place:
        decision, evaluation = _judge(options, request, scratch=Path(place))
    for line in (*rule_lines(decision), *beside_lines(evaluation), decision.reason()):
        print(line)
    return EXIT_CODES["released" if decision.approved else "refused"]


def _judge(
    options: argparse.Namespace, request: _Request, *, scratch: Path
) -> tuple[Decision, Evaluation]:
    from penstock.evaluation.evaluate import evaluate
    from penstock.gate.decision import run
    from penstock.gate.evaluation import Evaluation
    from penstock.serving.probe import probe

    model = _model(options.model, scratch / "model", what="--model")
    holdout = _data(options.data, model=model, request=request, scratch=scratch)
    evaluation = scratch / "evaluation.json"
    evaluate(
        holdout,
        model=model,
        baselines=_baselines(options.baselines, model=model, scratch=scratch),
        champion=_champion(options, scratch / "champion"),
        policy=request.policy,
        spec=request.spec,
        output=evaluation,
        report=scratch / "evaluation.html",
    )
    probe(model, holdout=holdout, policy=request.policy, output=scratch / "operations.json")
    decision = run(
        evaluation,
        policy=request.policy,
        name=options.name or request.name or _name(options.model),
        output=scratch / "decision.json",
        report=scratch / "decision.html",
        operations=scratch / "operations.json",
        image=os.environ.get("PENSTOCK_IMAGE", ""),
    )
    _hand_over(options, scratch)
    return decision, Evaluation.read(evaluation)


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
    from penstock.gate.policy import Policy

    try:
        raw = read_mapping(path, what="policy")
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
    if not any(text.startswith(_REGISTERED) for text in (options.model, options.champion)):
        return ""
    if request.located is None or options.project:
        return store_of(options)[0]
    return options.tracking_uri or request.located.registry


@contextlib.contextmanager
def _store(tracking_uri: str) -> Iterator[None]:
    """Let the block talk to a store; an empty address leaves the environment's."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _model(text: str, folder: Path, *, what: str) -> Path:
    """Return a model's folder, fetched if it is a registered version."""
    if text.startswith(_REGISTERED):
        from penstock.registry.versions import fetch

        return fetch(text, tracking_uri="", destination=folder)
    if not Path(text).is_dir():
        raise UsageError(
            f"there is no folder {text!r}",
            where=what,
            remedy="Give a model folder, or a version as models:/NAME/VERSION.",
        )
    return Path(text)


def _champion(options: argparse.Namespace, folder: Path) -> Champion | None:
    """Return the champion; None if there is none."""
    from penstock.gate.compared import Champion

    text = options.champion
    if text == NONE:
        return None
    implied = not text or text.endswith(_CHAMPION)
    if implied:
        from penstock.registry.champion import fetch_champion

        name = (text or options.model).removeprefix(_REGISTERED).partition("/")[0].partition("@")[0]
        return fetch_champion(name, tracking_uri="", destination=folder)
    if text.startswith(_REGISTERED):
        from penstock.registry.versions import registered

        # By its number: an alias may name another version tomorrow.
        text = registered(text, tracking_uri="").uri
    return Champion(uri=text, folder=_model(text, folder, what="--champion"))


def _data(text: str, *, model: Path, request: _Request, scratch: Path) -> Path:
    """Return the rows as a dataset: the one given, or a table read as the project reads its own."""
    from penstock.data.ingest import ingest
    from penstock.data.spec import SourceSpec
    from penstock.records.dataset import Dataset

    if Dataset.record_in(Path(text)):
        return Path(text)
    if "://" not in text and not Path(text).exists():
        raise UsageError(f"there is no file {text!r}", where="--data")
    fields = _as_trained(model) if text.endswith(_TEXTS) else {}
    if request.source is not None:
        fields = request.source.model_dump(exclude={"format", "query"})
    source = SourceSpec.model_validate(fields | {"uri": text})
    found = ingest(source, output=scratch / "data")
    # The pipeline settled types on the whole table; from these rows alone others may be inferred,
    # and equal rows would have another digest.
    trained = {column.name: column.type for column in _trained(model).columns}
    other = {
        column.name: trained[column.name]
        for column in found.columns
        if trained.get(column.name, column.type) != column.type
    }
    if not other:
        return scratch / "data"
    types = {**other, **source.types}
    ingest(source.model_copy(update={"types": types}), output=scratch / "retyped")
    return scratch / "retyped"


def _as_trained(model: Path) -> dict[str, Any]:
    """Return the settings that read texts as the table was read that the model learned from."""
    from penstock.data.spec import settings_of

    reading = _trained(model).reading
    return {} if reading is None else settings_of(reading)


def _trained(model: Path) -> Model | Dataset:
    """Return the record that has most of the columns that a model learned from."""
    from penstock.records.dataset import FILE_NAME, Dataset
    from penstock.records.model import FILE_NAME as MODEL_NAME
    from penstock.records.model import Model

    if (model / FILE_NAME).is_file():
        return Dataset.read(model / FILE_NAME)
    return Model.read(model / MODEL_NAME)


def _baselines(given: Path | None, *, model: Path, scratch: Path) -> Path | None:
    """Return the baselines to beat: those given, else the trivial one, made again."""
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"there is no folder {str(given)!r}", where="--baselines")
        return given
    from penstock.training.baselines import rebuild_constant

    made = rebuild_constant(model, output=scratch / "baselines")
    if made is None:
        print(
            "penstock: the model's folder does not say what its training rows were like, so no "
            "baseline is measured; give --baselines",
            file=sys.stderr,
        )
    return made


def _name(model: str) -> str:
    return model.removeprefix(_REGISTERED) if model.startswith(_REGISTERED) else Path(model).name
