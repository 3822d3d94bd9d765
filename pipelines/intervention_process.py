"""The process of one stage of a recall or retraining on this machine; the monitor starts it.

    python -m penstock.pipelines.intervention_process PROJECT FOLDER STAGE [SETTING ...]

Started again for a stage that was cut short, it goes on: rows that were written out are the same
rows, steps that were done are reused, and a rollout that has begun is driven on by its journal.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.common import files
from penstock.common.secrets import keep_environment
from penstock.errors import PenstockError
from penstock.pipelines.interventions import Stage
from penstock.pipelines.located import Located, locate
from penstock.records.intervention import Comparison, Intervention, RunStatus
from penstock.redaction import guarded, redact
from penstock.registry import audit

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.pipelines.run_result import RunResult
    from penstock.rollout.target import Target

_LOOK = 0.5
"""Seconds between two looks at whether a controller still runs."""


def main() -> None:
    """Do what the order in the folder says, and write what it came to."""
    keep_environment()
    project, folder, name, *settings = sys.argv[1:]
    stage = Stage(Path(folder), name)
    with guarded():
        order = Intervention.model_validate_json(stage.order.read_text(encoding="utf-8"))
        compares = order.stage == "compare"
        try:
            found = locate(Path(project), settings=settings)
            result = compare(found, order) if compares else run(found, order, stage)
        except PenstockError as error:
            said = redact(str(error))
            print(f"penstock: {said}", flush=True)
            if compares:
                files.write_text(stage.error, said)
                return
            result = RunStatus(state="failed", reason=said)
        result.write(stage.result)
        # The run has its own copy, and nobody goes on with what has ended.
        shutil.rmtree(stage.rows, ignore_errors=True)


def compare(found: Located, order: Intervention) -> Comparison:
    """Return how former champions and labels stand.

    Args:
        found: The project.
        order: What is under way.

    Raises:
        PenstockError: If rows, registry or service cannot be read.
    """
    from penstock.monitoring.interventions.comparing import compared, concept_of
    from penstock.monitoring.store.collect import registry_of, watched_here
    from penstock.monitoring.store.state import MonitorFolder

    service = found.project.name
    return compared(
        order,
        watched=watched_here(
            found.home,
            service,
            known_of=registry_of(service, tracking_uri=lambda: found.registry),
        ),
        source=source_of(found),
        tracking_uri=found.registry,
        folder=found.home / "monitor" / "former",
        spec=found.project.monitoring,
        concept=concept_of(MonitorFolder(found.home).glance(service=service), order.version),
    )


def run(found: Located, order: Intervention, stage: Stage) -> RunStatus:
    """Do as `carry_out` for the monitor; return what it is to know of it.

    Raises:
        PenstockError: If it cannot be run.
    """
    result = carry_out(found, order, stage, by=audit.MONITOR)
    version = result.registration.version if result.registration else None
    return RunStatus(state=result.outcome, reason=redact(result.reason), version=version)


def carry_out(found: Located, order: Intervention, stage: Stage, *, by: str | None) -> RunResult:
    """Run a recall or a retraining, or go on with it, to its end.

    Nobody is notified of how it ended: whoever asked for it does that.

    Args:
        found: The project.
        order: What is under way.
        stage: Its files.
        by: Who asked for it; None: who runs this.

    Raises:
        PenstockError: If it cannot be run.
    """
    from rich.console import Console

    from penstock.pipelines.index import refresh_index
    from penstock.pipelines.summary import summary, write_summary

    console = Console(file=sys.stdout)
    try:
        result = left_behind(found, order) or _begun(found, order, stage, console=console, by=by)
        write_summary(result)
    finally:
        refresh_index(found)
    print(summary(result), flush=True)
    return result


def _begun(
    found: Located, order: Intervention, stage: Stage, *, console: Console, by: str | None
) -> RunResult:
    from penstock.captures.export import export
    from penstock.monitoring.interventions.intervention import half_of
    from penstock.pipelines.run import run_recall, run_release

    project = found.project
    recalls = order.stage == "recall"
    if not stage.rows.exists():
        export(
            source_of(found),
            output=stage.rows,
            target=project.target,
            labelled=True,
            since=order.since,
            requests=(lambda request: half_of(request) == "gate") if recalls else None,
            time=project.split.column if project.split.method == "time" else "",
        )
    if recalls:
        assert order.recall is not None
        return run_recall(
            project,
            order.recall,
            rows=stage.rows,
            folder=found.folder,
            console=console,
            name=order.run,
            by=by,
        )
    from penstock.data.spec import SourceSpec

    return run_release(
        project.model_copy(update={"source": SourceSpec(uri=str(stage.rows))}),
        folder=found.folder,
        console=console,
        settings=(f"source.uri={stage.rows}",),
        name=order.run,
        by=by,
    )


def left_behind(found: Located, order: Intervention) -> RunResult | None:
    """Return how a run ended whose rollout had begun when it was killed; None: none had.

    It is driven on by its journal. Nothing is judged again: the candidate may be the champion now.
    """
    from penstock.pipelines.outputs import Outputs, registrations
    from penstock.pipelines.run_result import RunResult
    from penstock.records.decision import Decision
    from penstock.rollout.control import resume
    from penstock.rollout.journal import Journal
    from penstock.rollout.target import history

    where = found.home / "runs" / order.run
    registered = registrations(where)
    if not registered:
        return None
    target: Target = found.target(tracking_uri=found.registry)
    registration = registered[-1]
    begun = [one for one in history(target) if one.rollout.candidate == registration.version]
    if not begun:
        return None
    store = target.store(begun[-1].name)
    # The step that drives it may have outlived the run, or seem to for a while.
    while target.driven() and not Journal(store).rollout.ended:
        time.sleep(_LOOK)
    rollout = Journal(store).rollout
    if not rollout.ended:
        rollout = resume(target)
    assert rollout.outcome is not None
    outputs = Outputs(where / "kfp")
    blank = RunResult(
        outcome="released" if rollout.outcome == "promoted" else "rolled_back",
        reason=f"It was cut short and gone on with. {rollout.reason}",
        folder=where,
        log=where / "kfp.log",
        home=found.home,
        tracking_uri=redact(found.tracking_uri),
    )
    return dataclasses.replace(
        blank,
        registration=registration,
        rollout=rollout,
        decision=outputs.record(Decision, "decide", "decision"),
    )


def source_of(found: Located) -> str:
    """Return where the captured rows of a project's service are."""
    from penstock.rollout.captures import captures_of

    project = found.project
    if project.monitoring.captures:
        return project.monitoring.captures
    return str(captures_of(project.deployment, service=project.name, home=found.home))


if __name__ == "__main__":
    main()
