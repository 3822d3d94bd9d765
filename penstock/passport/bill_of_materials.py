"""The model's bill of materials: CycloneDX 1.6 with a model card, called ML-BOM.

Format: ECMA-424, CycloneDX 1.6, components of type `machine-learning-model` and `data`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from penstock.passport.facts import Facts
from penstock.records.dataset import Dataset

_MODEL = "model"


def bill_of_materials(facts: Facts) -> str:
    """Return the model, the data it was made from and the libraries it needs, as JSON.

    Digests of a folder and of rows are no hashes of one file, so they stand among the properties.

    Args:
        facts: What the evidence says.
    """
    parts = [*_data(facts), *_libraries(facts)]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{facts.identifier('bill of materials')}",
        "version": 1,
        "metadata": {
            "timestamp": facts.registered.isoformat(),
            "tools": {
                "components": [
                    {"type": "application", "name": "penstock", "version": facts.evidence.code}
                ]
            },
            "component": _model(facts),
        },
        "components": parts,
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }
    return json.dumps(bill, indent=2, ensure_ascii=False) + "\n"


def _model(facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": facts.version.name,
        "version": str(facts.version.version),
        "description": f"{facts.model.name}, predicts {facts.model.target} ({facts.model.task})",
    }
    if facts.owner.owner:
        found["supplier"] = {"name": facts.owner.owner}
    if facts.owner.license:
        found["licenses"] = [{"license": {"name": facts.owner.license}}]
    return found | {"modelCard": _card(facts), "properties": _properties(facts)}


def _card(facts: Facts) -> dict[str, Any]:
    model = facts.model
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": model.task,
            "architectureFamily": model.name,
            "datasets": [{"ref": part["bom-ref"]} for part in _data(facts)],
            "inputs": [{"format": f"{column.name}: {column.type}"} for column in model.columns],
            "outputs": [{"format": _output(facts)}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(facts))},
        "considerations": _considerations(facts),
        "properties": [
            {"name": f"penstock:parameter:{name}", "value": str(value)}
            for name, value in model.parameters.items()
        ],
    }


def _output(facts: Facts) -> str:
    if facts.model.task == "regression":
        return f"{facts.model.target}: number"
    return f"{facts.model.target}: one of {', '.join(map(str, facts.model.classes))}"


def _metrics(facts: Facts) -> Iterator[dict[str, Any]]:
    if facts.evaluation is None:
        return
    for name, estimate in facts.evaluation.candidate.metrics.items():
        yield {
            "type": name,
            "value": repr(estimate.value),
            "slice": "holdout",
            "confidenceInterval": {
                "lowerBound": repr(estimate.low),
                "upperBound": repr(estimate.high),
            },
        }


def _considerations(facts: Facts) -> dict[str, Any]:
    """Return what the owner states; nothing is filled in for what is not stated."""
    stated = facts.owner
    notes = facts.evaluation.notes if facts.evaluation is not None else ()
    limits = [*stated.limits, *notes]
    if stated.out_of_scope:
        limits.append(f"Out of scope: {stated.out_of_scope}")
    found: dict[str, Any] = {}
    if stated.intended_use:
        found["useCases"] = [stated.intended_use]
    if limits:
        found["technicalLimitations"] = limits
    if stated.ethics:
        found["ethicalConsiderations"] = [{"name": stated.ethics}]
    return found


def _properties(facts: Facts) -> list[dict[str, str]]:
    named = {
        **{f"digest:{what}": digest for what, digest in facts.digests.items()},
        "digest:ONNX form": facts.evidence.export,
        "uri": facts.version.uri,
        "commit": facts.evidence.commit,
        "image": facts.evidence.image,
        "image's bill of materials": facts.evidence.sbom,
        "trained by": facts.evidence.trained_by,
    }
    return [{"name": f"penstock:{name}", "value": value} for name, value in named.items() if value]


def _data(facts: Facts) -> Iterator[dict[str, Any]]:
    parts = {
        "training part": (facts.evidence.dataset, facts.train),
        "holdout": (facts.evidence.holdout, facts.holdout),
    }
    for name, (digest, record) in parts.items():
        yield {
            "type": "data",
            "bom-ref": f"data:{name.replace(' ', '-')}",
            "name": f"{facts.version.name} {name}",
            "version": digest,
            "data": [{"type": "dataset", "name": name, **_described(record)}],
            "properties": [{"name": "penstock:digest", "value": digest}],
        }


def _described(record: Dataset | None) -> dict[str, Any]:
    if record is None:
        return {}
    text = f"{record.rows} rows, {len(record.columns)} columns, from {record.source_text}"
    return {"description": text}


def _libraries(facts: Facts) -> Iterator[dict[str, Any]]:
    own = facts.model.code.libraries if facts.model.code is not None else {}
    for name, version in sorted({**own, **facts.model.libraries}.items()):
        kind = "generic" if name == "python" else "pypi"
        yield {
            "type": "platform" if name == "python" else "library",
            "bom-ref": f"library:{name}",
            "name": name,
            "version": version,
            "purl": f"pkg:{kind}/{quote(name, safe='')}@{quote(version, safe='')}",
        }
