"""What a look sees: rows and labels that came since the last one, read once and measured."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from penstock.captures.reader import Captured, Cursor, read_labels, read_window
from penstock.errors import PenstockError
from penstock.monitoring.evidence import weigh
from penstock.monitoring.settings.monitoring import MonitoringSpec
from penstock.monitoring.signals.volume import Counted, Memory, count_rows
from penstock.monitoring.store.answered import Answered
from penstock.monitoring.store.collect import Watched, figures_since
from penstock.monitoring.window_performance import times_of_rows, window_performance
from penstock.records.base import restored
from penstock.records.monitoring import Looked, MonitorState, Progress, Verdict


def observe(
    watched: Watched,
    *,
    state: MonitorState,
    spec: MonitoringSpec,
    answered: Answered,
    now: datetime,
    refused: int = 0,
) -> Looked:
    """Return what one look sees, and how far it came.

    Whatever cannot be read is said in it, and not raised: the next look tries again.

    Args:
        watched: What it is about.
        state: As the look before left it.
        spec: The section `monitoring`.
        answered: Scores of earlier rows, to which those of this look are added.
        now: The time of the look.
        refused: Runs in a row that were refused.

    Raises:
        ServiceError: If scores cannot be written down.
    """
    same = state.version == watched.version
    # How many rows come is of the service, whichever version answers.
    before = state.progress if same else Progress(volume=state.progress.volume)
    looked = Looked(
        service=watched.service,
        version=watched.version,
        number=state.number + 1,
        time=now,
        missing=watched.missing,
        unwatched=watched.unwatched,
        problem=watched.problem,
        operations=figures_since(watched.counted, before.counted),
        refused=refused,
        progress=before.model_copy(update={"counted": watched.counted}),
    )
    if watched.problem:
        return looked
    try:
        rows = read_window(
            watched.captures, after=_cursor(before.cursor), version=str(watched.version)
        )
        labels, label_cursor = read_labels(watched.captures, after=_cursor(before.label_cursor))
    except PenstockError as error:
        return looked.model_copy(update={"problem": f"What was captured cannot be read: {error}"})
    if not same:
        answered.forget()
    volume = _volume(before, rows, now=now, spec=spec, known=same and not rows.lost)
    found = _spans(rows) | {"volume": volume.figure}
    progress = looked.progress.model_copy(
        update={
            "cursor": rows.cursor.model_dump(mode="json"),
            "label_cursor": label_cursor.model_dump(mode="json"),
            "volume": volume.memory.model_dump(mode="json") if volume.memory else None,
        }
    )
    value = None
    if watched.known is not None:
        value = window_performance(
            rows.table,
            labels,
            known=watched.known,
            spec=spec,
            answered=answered,
            number=looked.number,
            now=now,
            taught=before.concept,
        )
        found |= {"performance": value.performance, "kpi": value.kpi, "notes": value.notes}
        found |= {"missing": (*looked.missing, *value.missing)}
        progress = progress.model_copy(update={"concept": value.concept})
    if watched.reference is not None:
        data = weigh(
            rows.table,
            value.losses if value else None,
            groups=value.groups if value else (),
            others=[volume.blocks] if volume.blocks else [],
            watched=watched,
            reference=watched.reference,
            spec=spec,
            memory=before.detector,
            rearm=state.rearm,
            named=_named(state.verdict if same else None),
        )
        found |= {
            "drift": data.drift,
            "distances": data.distances,
            "counts": data.counts,
            "attributions": data.attributions,
            "missing": (*found.get("missing", looked.missing), *data.missing),
            "notes": (*found.get("notes", ()), *data.notes),
        }
        progress = progress.model_copy(update={"detector": data.state})
    return looked.model_copy(update={**found, "progress": progress})


def _volume(
    before: Progress, rows: Captured, *, now: datetime, spec: MonitoringSpec, known: bool
) -> Counted:
    kept = before.volume
    memory = None if kept is None else restored(Memory, kept, where="state.json: progress.volume")
    return count_rows(
        memory,
        times_of_rows(rows.table),
        now=now,
        spec=spec.volume,
        # Of the first rows of all there is nothing before that could be missed.
        known=known or memory is None,
    )


def _spans(rows: Captured) -> dict[str, Any]:
    times = rows.table.column("time")
    ends = {"since": times[0].as_py(), "until": times[-1].as_py()} if rows.rows else {}
    return {"rows": rows.rows, "lost": rows.lost, **ends}


def _named(verdict: Verdict | None) -> set[str]:
    """Return the signals that the alarms of a verdict named."""
    alarms = (verdict.drift, verdict.loss) if verdict else ()
    return {one.name for alarm in alarms if alarm for one in alarm.guilty}


def _cursor(kept: dict[str, Any] | None) -> Cursor | None:
    return None if kept is None else restored(Cursor, kept, where="state.json: progress.cursor")
