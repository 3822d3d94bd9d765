"""The version's lineage as OpenLineage events: from its data to the service, one JSON a line.

Format: OpenLineage 2.0.2, run events, with the facets for versions of datasets and for schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from penstock.passport.facts import Facts
from penstock.records.dataset import Dataset
from penstock.registry import audit

_SPEC = "https://openlineage.io/spec"
_FACETS = {
    "version": "1-0-1/DatasetVersionDatasetFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
}
_PRODUCER = "urn:penstock:passport"


def lineage(facts: Facts) -> str:
    """Return events that a lineage server takes: the split, the release, each promotion.

    Each is of a job that ended: the split at the time that its parts were written, the release at
    the time that the version was registered, a promotion at the time of its entry in the audit log.

    Args:
        facts: What the evidence says.
    """
    return "".join(f"{json.dumps(event, ensure_ascii=False)}\n" for event in _events(facts))


def _events(facts: Facts) -> Iterator[dict[str, Any]]:
    train = _data(facts, "train", facts.evidence.dataset, facts.train)
    holdout = _data(facts, "holdout", facts.evidence.holdout, facts.holdout)
    model = _dataset(f"{facts.version.name}/model", facts.evidence.model)
    decision = _dataset(f"{facts.version.name}/decision", facts.evidence.decision)
    evidence = _dataset(f"{facts.version.name}/evidence", facts.evidence.digest())
    if facts.train is not None:
        table = _dataset(facts.train.source, facts.train.version)
        yield _event(facts, "split", facts.train.created, [table], [train, holdout])
    yield _event(facts, "release", facts.registered, [train, holdout], [model, decision, evidence])
    for place, entry in enumerate(facts.log):
        if entry.event == audit.ADMITTED:
            service = _dataset(f"{facts.version.name}/service", facts.evidence.model)
            name = f"serve.{place}"
            yield _event(facts, "serve", entry.time, [model, decision], [service], run=name)


def _event(
    facts: Facts,
    job: str,
    time: datetime,
    inputs: list[dict[str, Any]],
    outputs: list[dict[str, Any]],
    *,
    run: str = "",
) -> dict[str, Any]:
    return {
        "eventType": "COMPLETE",
        "eventTime": time.isoformat(),
        "run": {"runId": str(facts.identifier(f"run {run or job}"))},
        "job": {"namespace": "penstock", "name": f"{facts.version.name}.{job}"},
        "inputs": inputs,
        "outputs": outputs,
        "producer": _PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def _data(facts: Facts, part: str, digest: str, record: Dataset | None) -> dict[str, Any]:
    found = _dataset(f"{facts.version.name}/{part}", digest)
    if record is not None:
        fields = [{"name": column.name, "type": column.type} for column in record.columns]
        found["facets"]["schema"] = {**_facet("schema"), "fields": fields}
    return found


def _dataset(name: str, digest: str) -> dict[str, Any]:
    return {
        "namespace": "penstock",
        "name": name,
        "facets": {"version": {**_facet("version"), "datasetVersion": digest}},
    }


def _facet(kind: str) -> dict[str, Any]:
    release, name = _FACETS[kind].split("/")
    return {
        "_producer": _PRODUCER,
        "_schemaURL": f"{_SPEC}/facets/{release}/{name}.json#/$defs/{name}",
    }
