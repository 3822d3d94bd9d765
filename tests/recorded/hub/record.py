"""Record what a real server of Kubeflow Hub answers: `python record.py ADDRESS > answers.json`.

The server must be new: ids are compared. Recorded from kubeflow/hub bd07139a6 (29 April 2026, after
0.3.8) on PostgreSQL 18; `schemas.json` is from its api/openapi/model-registry.yaml.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx

TEXT = "MetadataStringValue"
API = "/api/model_registry/v1alpha3/"


def text(value: str) -> dict[str, str]:
    return {"metadataType": TEXT, "string_value": value}


VERSION = {"name": "1", "registeredModelId": "1", "state": "LIVE"}
ARTIFACT = {"artifactType": "model-artifact", "name": "loans-1", "uri": "s3://b/1", "state": "LIVE"}
FORMAT = {"modelFormatName": "penstock", "modelFormatVersion": "1"}

REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/api/model_registry/v1/registered_models?pageSize=1", None),
    ("GET", API + "registered_models?pageSize=1", None),
    ("GET", API + "registered_model?name=loans", None),
    ("GET", API + "registered_models/77/versions?pageSize=100", None),
    ("GET", API + "model_versions/77/artifacts?pageSize=100", None),
    ("POST", API + "registered_models", {"name": "loans", "colour": "red"}),
    ("POST", API + "registered_models", {"state": "LIVE"}),
    ("POST", API + "registered_models", {"name": "loans", "state": "GONE"}),
    ("POST", API + "registered_models", {"name": "loans", "customProperties": {"a": "text"}}),
    (
        "POST",
        API + "registered_models",
        {"name": "loans", "state": "LIVE", "owner": "ann", "customProperties": {"a": text("1")}},
    ),
    ("POST", API + "registered_models", {"name": "loans", "state": "LIVE"}),
    ("GET", API + "registered_model?name=loans", None),
    ("POST", API + "model_versions", {**VERSION, "registeredModelId": "77"}),
    ("POST", API + "model_versions", {**VERSION, "customProperties": {"d": text("sha256:1")}}),
    ("POST", API + "model_versions", VERSION),
    ("POST", API + "model_versions", {**VERSION, "name": "2"}),
    ("GET", API + "registered_models/1/versions?pageSize=100", None),
    ("POST", API + "model_versions/77/artifacts", ARTIFACT),
    ("POST", API + "model_versions/4/artifacts", {**ARTIFACT, **FORMAT}),
    ("POST", API + "model_versions/4/artifacts", {**ARTIFACT, **FORMAT}),
    ("GET", API + "model_versions/4/artifacts?pageSize=100", None),
    ("PATCH", API + "registered_models/1", {"customProperties": {"b": text("2")}}),
    ("PATCH", API + "registered_models/1", {"name": "other"}),
    ("PATCH", API + "registered_models/77", {"customProperties": {}}),
    ("PATCH", API + "model_versions/4", {"customProperties": {"d": text("x"), "e": text("y")}}),
    ("PATCH", API + "model_versions/4", {"customProperties": {}}),
    (
        "PATCH",
        API + "model_artifacts/1",
        {"artifactType": "model-artifact", "uri": "s3://b/2", "customProperties": {"f": text("z")}},
    ),
    ("PATCH", API + "model_artifacts/1", {"uri": "s3://b/3", "state": "LIVE"}),
    ("PATCH", API + "model_artifacts/1", {"customProperties": {"f": text("long " * 60)}}),
    ("GET", API + "registered_model?name=loans", None),
    ("GET", API + "registered_models/1/versions?pageSize=1", None),
]


def asked(address: str) -> list[dict[str, Any]]:
    """Ask a server everything, one after another; return what it answered."""
    answers = []
    for method, path, body in REQUESTS:
        answer = httpx.request(method, address + path, json=body, trust_env=False, timeout=10)
        try:
            said: Any = answer.json()
        except ValueError:
            said = answer.text
        answers.append(
            {
                "asked": f"{method} {path}",
                "body": body,
                "status": answer.status_code,
                "said": timeless(said),
            }
        )
    return answers


def timeless(said: Any) -> Any:
    """Return an answer without what differs each time: times, and the token of a page."""
    if isinstance(said, list):
        return [timeless(one) for one in said]
    if not isinstance(said, dict):
        return said
    gone = {"createTimeSinceEpoch", "lastUpdateTimeSinceEpoch"}
    found = {key: timeless(value) for key, value in said.items() if key not in gone}
    if found.get("nextPageToken"):
        found["nextPageToken"] = "another"
    return found


if __name__ == "__main__":
    json.dump(asked(sys.argv[1]), sys.stdout, indent=1)
