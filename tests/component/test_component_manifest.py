"""What `kubectl apply` is given fits Kubeflow's own resource definitions, to the last field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from needs import shared

from penstock.pipelines.compile import LOADER, compile_release
from penstock.project import Project

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123


def strict(schema: Any) -> Any:
    """Return a schema in which a field that is not declared is an error."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.mark.parametrize(
    "cluster",
    [{}, {"node_selector": {"disk": "ssd"}, "secrets": [{"name": "s3", "mount_path": "/s3"}]}],
    ids=("plain", "with cluster settings"),
)
def test_both_resources_fit_their_definitions(tmp_path: Path, cluster: dict[str, Any]) -> None:
    crds = shared("crds")
    raw = {"name": "wine", "target": "quality", "source": {"uri": "s3://b/wine.csv"}}
    project = Project.parse({**raw, "cluster": cluster}, where="test")
    compile_release(project, output=tmp_path / "p.yaml", kubernetes_manifest=True)
    documents = list(yaml.load_all((tmp_path / "p.yaml").read_text(), Loader=LOADER))
    assert [document["kind"] for document in documents] == ["Pipeline", "PipelineVersion"]
    for document in documents:
        name = f"pipelines.kubeflow.org_{document['kind'].lower()}s.yaml"
        definition = yaml.load((crds / name).read_text(), Loader=LOADER)
        version = document["apiVersion"].rpartition("/")[2]
        served = next(v for v in definition["spec"]["versions"] if v["name"] == version)
        schema = strict(served["schema"]["openAPIV3Schema"])
        # Kubernetes checks metadata itself; a definition only says that it is there.
        schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
        jsonschema.validate(document, schema)
        assert NAME.fullmatch(document["metadata"]["name"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**document, "spec": {**document["spec"], "typo": 1}}, schema)
