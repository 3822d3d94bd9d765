"""metadata.yaml of each component: the form that kubeflow/pipelines-components checks."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

COMPONENTS = Path(__file__).parents[2] / "components"
NAMES = sorted(path.stem for path in COMPONENTS.glob("[a-z]*.py"))

_DEPENDENCIES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "version"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "version": {"type": "string", "pattern": r"^(>=|<=|==)?\d+\.\d+\.\d+$"},
        },
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "stability", "dependencies", "lastVerified"],
    "properties": {
        "name": {"type": "string"},
        "stability": {"enum": ["experimental", "alpha", "beta", "stable"]},
        "dependencies": {
            "type": "object",
            "additionalProperties": False,
            "required": ["kubeflow"],
            "properties": {
                "kubeflow": {
                    **_DEPENDENCIES,
                    "contains": {"properties": {"name": {"const": "Pipelines"}}},
                },
                "external_services": _DEPENDENCIES,
            },
        },
        "lastVerified": {},
        "tags": {"type": "array", "items": {"type": "string"}},
        "ci": {"type": "object"},
        "links": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}


def _metadata(name: str) -> Any:
    return yaml.safe_load((COMPONENTS / "metadata" / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_component_has_metadata_of_that_form(name: str) -> None:
    metadata = _metadata(name)
    jsonschema.validate(metadata, SCHEMA)
    assert metadata["name"] == name
    assert isinstance(metadata["lastVerified"], datetime)
    # Their check wants the required fields in this order.
    required = [field for field in metadata if field in SCHEMA["required"]]
    assert required == SCHEMA["required"]


@pytest.mark.parametrize("name", NAMES)
def test_what_it_links_to_is_there(name: str) -> None:
    links = _metadata(name)["links"]
    page, _, anchor = links["documentation"].partition("#")
    assert f"\n### {anchor}\n" in (COMPONENTS.parent / page).read_text(encoding="utf-8")
    assert (COMPONENTS.parent / links["source"]).is_file()


def test_what_a_component_is_connected_to_follows_from_its_arguments() -> None:
    services = {
        name: [
            each["name"] for each in _metadata(name)["dependencies"].get("external_services", ())
        ]
        for name in NAMES
    }
    assert services["validate"] == []
    assert services["register"] == ["MLflow"]
    assert services["deploy"] == ["MLflow", "KServe"]


def test_each_file_is_of_a_component_and_somebody_approves_changes() -> None:
    assert sorted(path.stem for path in (COMPONENTS / "metadata").glob("*")) == NAMES
    owners = (COMPONENTS / "OWNERS").read_text(encoding="utf-8")
    # As their check reads it: line by line.
    assert re.search(r"^approvers:\n\s*- \S", owners, flags=re.MULTILINE)
