"""What tasks of Kubeflow do to recall or train again for a service on a cluster.

A look is in `monitor`. The task after it (`intervene_once`) gives the order, if something
is to be begun; the others lay out its rows, write a refusal down, and last what came of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from penstock.common.progress import say
from penstock.errors import PenstockError
from penstock.gate.approval import ApprovalSpec
from penstock.monitoring.cluster.interventions import OrderGiver
from penstock.monitoring.cluster.interventions import settle as settle_order
from penstock.monitoring.cluster.monitor import ClusterMonitor
from penstock.monitoring.cluster.pipeline_runs import goes_on, own_namespace
from penstock.records.intervention import RunOrder, RunStatus
from penstock.redaction import redact

_NEWEST = 3
"""Interventions that the order of a run is looked for in: one is under way at a time."""

Begins = Literal["nothing", "recall", "retrain"]
"""What a run of Kubeflow is to carry out."""


def intervene_once(
    watcher: ClusterMonitor, *, approval: Mapping[str, Any], pipeline_run: str, order: Path
) -> Begins:
    """Go on with what a look has begun; return what this run is to carry out.

    Args:
        watcher: What watches the service.
        approval: Fields of `gate.approval`: who must approve.
        pipeline_run: Kubeflow's id of this run.
        order: Where the order is written to; absent where there is nothing to carry out.

    Raises:
        InputError: If a field of `gate.approval` is wrong: each later look would meet it.
        ServiceError: If another process watches it, or the cluster or a store does not answer, or
            it cannot be known whether an earlier run goes on.
    """
    ApprovalSpec.parse(approval, where="gate.approval")
    monitor = watcher.monitor(compare=True)
    given: RunOrder | None = None
    with monitor.held():
        giver = OrderGiver(
            files=watcher.run_files(confirm=monitor.folder.storage.confirm),
            releases=watcher.releases,
            goes_on=partial(goes_on, asked_by=pipeline_run),
            pipeline_run=pipeline_run,
            namespace=own_namespace(),
            approval=dict(approval),
        )
        # What an earlier run came to may only be found out here, and then something else follows.
        for _ in range(2):
            for line in monitor.go_on():
                print(line)  # noqa: T201
            state, _ = monitor.folder.read(service=watcher.service)
            given = giver.give(state.intervention, now=datetime.now(UTC))
            if given is not None:
                break
    if given is None:
        say("nothing is to be begun")
        return "nothing"
    given.write(order)
    one = given.intervention
    say(f"{one.stage}, start {given.start}: {one.grounds}")
    return "recall" if one.stage == "recall" else "retrain"


def export_once(watcher: ClusterMonitor, order: RunOrder, *, target: str, time: str) -> str:
    """Lay the labelled rows of an order beside the monitor's state; return where, for `ingest`.

    Args:
        watcher: What watches the service.
        order: The order: of a recall the half that the gate judges on, else all since the change.
        target: Name of the column that gets the true labels.
        time: A column that gets the time of the answer; empty: none.

    Raises:
        InputError: If there are no such rows.
        ServiceError: If a store does not answer.
    """
    from penstock.captures.export import FILE_NAME, export
    from penstock.monitoring.interventions.intervention import half_of

    recalls = order.intervention.stage == "recall"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "rows"
        found = export(
            watcher.captures(),
            output=folder,
            target=target,
            labelled=True,
            since=order.intervention.since,
            requests=(lambda request: half_of(request) == "gate") if recalls else None,
            time=time,
        )
        uri = watcher.run_files().keep_rows(order, (folder / FILE_NAME).read_bytes())
    say(f"{found.labelled:,} labelled rows")
    return uri


def record_refusal(
    watcher: ClusterMonitor, order: RunOrder, *, evidence: Path, reason: str
) -> None:
    """Write down that the run of an order was refused, and why.

    Args:
        watcher: What watches the service.
        order: The order.
        evidence: A decision, validation or approval outcome.
        reason: What happened, in a sentence.

    Raises:
        ServiceError: If the store does not answer.
    """
    from penstock.records.run_cause import reason_of

    why = redact(f"{reason} {reason_of(evidence)}".strip())
    watcher.run_files().end(order, RunStatus(state="refused", reason=why))
    say(why)


def settle_once(watcher: ClusterMonitor, *, pipeline_run: str, failure: str) -> None:
    """Write what this run came to, if it had an order, and remove its rows; never fail.

    What cannot be written or found out now is found out by a later look.

    Args:
        watcher: What watches the service.
        pipeline_run: Kubeflow's id of this run.
        failure: What Kubeflow says of it, if it failed.
    """
    try:
        order = _order_of(watcher, pipeline_run)
        if order is None:
            say("nothing was to be carried out")
            return
        ended = settle_order(watcher.run_files(), watcher.releases, order, failure=redact(failure))
        say(f"{ended.state}: {ended.reason}".rstrip(": "))
    except PenstockError as error:
        say(f"what it came to is left to a later look: {error}")


def _order_of(watcher: ClusterMonitor, pipeline_run: str) -> RunOrder | None:
    """Return the order that a run carries out; a look may have ended its intervention since."""
    files = watcher.run_files()
    # By the number of the look that began them.
    newest = sorted(files.storage.folders().items(), reverse=True)[:_NEWEST]
    for folder, names in newest:
        for name in names:
            if ".order-" in name:
                order = RunOrder.loads(files.storage.read(folder, name).decode(), where=name)
                if order.pipeline_run == pipeline_run:
                    return order
    return None
