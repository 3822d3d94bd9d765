"""Measure a candidate in the model server itself, before anybody depends on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from penstock import model as models
from penstock.common.progress import say
from penstock.gate.policy import Policy
from penstock.gate.rules.serving import RULE, OperationsSpec
from penstock.records.dataset import Dataset
from penstock.records.export import FOLDER, MODEL_NAME
from penstock.records.operations import Operations

if TYPE_CHECKING:
    from penstock.serving.prediction import Prediction
    from penstock.serving.temporary_server import TemporaryServer

WARM_UP = 20
"""Requests before the first that is timed."""

READY_SECONDS = 120.0


def probe(model: Path, *, holdout: Path, policy: Policy, output: Path) -> Operations:
    """Start the model server with a candidate, ask it single rows, and write what was measured.

    The server is the one that a release starts, with the ONNX form where the model has one that
    holds. Rows are sent one after another over HTTP on loopback, on one connection; each answer is
    compared with the model's own, which scores all rows at once. It ends whatever happens.

    Args:
        model: The candidate's folder.
        holdout: Rows to ask; as many, evenly spread, as the policy says, and again from the first
            where there are fewer.
        policy: Where it has no rule on operations, nothing is started.
        output: Where to write the record.

    Raises:
        InputError: If the model or the holdout cannot be read.
        IntegrityError: If the model is not to be trusted.
        ServiceError: If the server does not start, or does not answer a row.
    """
    digest = models.digest_of(model)
    content = Dataset.of(holdout).content
    settings = RULE.of(policy)
    if settings is None:
        record = Operations(model=digest, dataset=content, asked=False)
    else:
        measured = _measure(model, digest=digest, holdout=holdout, settings=settings)
        record = Operations(model=digest, dataset=content, asked=True, **measured)
        say(f"{record.runtime} server: p99 {1000 * (record.p99 or 0):.1f} ms, {record.place}")
    record.write(output)
    return record


def _measure(
    model: Path, *, digest: str, holdout: Path, settings: OperationsSpec
) -> dict[str, Any]:
    from penstock.serving.temporary_server import temporary_server

    with TemporaryDirectory(prefix="penstock-probe-") as place:
        scratch = Path(place)
        folder = scratch / "model"
        form, notes = _prepare(model, folder, holdout=holdout)
        arguments = ["--model", str(folder), "--digest", digest]
        if form:
            arguments += ["--export", form]
        with temporary_server(arguments, scratch=scratch, timeout=READY_SECONDS) as server:
            measured = _ask(server, model, holdout=holdout, requests=settings.requests)
        loaded = folder / FOLDER / MODEL_NAME if form else models.file_of(folder)
        return {
            "runtime": "onnx" if form else "sklearn",
            "requests": settings.requests,
            "size": loaded.stat().st_size,
            "start": server.start,
            "place": _place(),
            "notes": notes,
            **measured,
        }


def _prepare(model: Path, folder: Path, *, holdout: Path) -> tuple[str, tuple[str, ...]]:
    """Copy the model as a registered version holds it; return its ONNX form's digest, and notes."""
    from penstock.export.export import export

    models.copy_without_export(model, folder)
    exported = export(folder, holdout=holdout, output=folder / FOLDER)
    if not exported.file:
        return "", (f"It has no ONNX form, so scikit-learn answers: {exported.reason}.",)
    return models.export_digest_of(folder), ()


def _ask(server: TemporaryServer, model: Path, *, holdout: Path, requests: int) -> dict[str, Any]:
    import numpy as np
    import orjson

    from penstock.serving.parity_check import (
        as_instances,
        columns_of,
        difference,
        distance,
        sample_rows,
    )
    from penstock.serving.prediction import Prediction, prediction_of

    loaded = models.load(model, run_code=True)
    names = [column.name for column in loaded.record.columns]
    sample = sample_rows(holdout, rows=requests)
    scores = loaded.scores_of(columns_of(sample, loaded.record.columns))
    expected = prediction_of(loaded.record, labels=loaded.labels_of(scores), scores=scores)
    bodies = [orjson.dumps({"instances": [row]}) for row in as_instances(sample, names)]
    for number in range(WARM_UP):
        server.ask(bodies[number % len(bodies)])
    taken: list[float] = []
    got: list[Prediction] = []
    for number in range(requests):
        answer, seconds = server.ask(bodies[number % len(bodies)])
        taken.append(seconds)
        got.append(Prediction(answer["predictions"], answer.get("probabilities")))
    own = [_row(expected, number) for number in range(len(bodies))]
    pairs = [(one, own[number % len(own)]) for number, one in enumerate(got)]
    found = [difference(one, other, 0) for one, other in pairs]
    compared = len(bodies)
    differing = {number % compared for number, text in enumerate(found) if text}
    return {
        "p50": float(np.quantile(taken, 0.5)),
        "p99": float(np.quantile(taken, 0.99, method="higher")),
        "rows": compared,
        "differences": len(differing),
        "largest": max(distance(one, other, 0) for one, other in pairs),
        "first_difference": _first(found, compared),
    }


def _first(found: Sequence[str], compared: int) -> str:
    place = next((number for number, text in enumerate(found) if text), None)
    return "" if place is None else f"row {place % compared + 1} of those sent: {found[place]}"


def _row(answer: Prediction, row: int) -> Prediction:
    from penstock.serving.prediction import Prediction

    probabilities = None if answer.probabilities is None else [answer.probabilities[row]]
    return Prediction([answer.labels[row]], probabilities)


def _place() -> str:
    """Return what was measured on; a machine's name is nobody's business."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"measured over loopback on a machine with {usable} CPUs"
