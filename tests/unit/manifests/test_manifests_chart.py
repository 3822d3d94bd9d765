"""The Helm chart holds the objects that Kustomize builds, and few values."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import chart
import pytest
import yaml

REGISTRY = "registry.example.com/team/mlflow@sha256:" + "0" * 64


@pytest.fixture
def made(build, tmp_path: Path) -> tuple[list[dict[str, Any]], Path]:
    """The objects of the production overlay, and their chart."""
    objects = build("production")
    chart.write(objects, tmp_path / "penstock")
    return objects, tmp_path / "penstock"


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one
        for one in objects
    }
    assert len(found) == len(objects)
    return found


def images(objects: list[dict[str, Any]]) -> set[str]:
    """What the containers of a list of objects run."""
    text = yaml.safe_dump(objects)
    return {line.split(": ", 1)[1] for line in text.splitlines() if " image: " in line}


def test_a_chart_renders_to_the_objects_of_kustomize(made) -> None:
    objects, folder = made
    values = yaml.safe_load((folder / "values.yaml").read_text())["images"]
    assert set(values) == {"mlflow", "serving"}
    templates = sorted((folder / "templates").iterdir())
    plain = [yaml.safe_load(chart.rendered(path.read_text(), values)) for path in templates]
    assert by_name(plain) == by_name(objects)
    other = values | {"mlflow": REGISTRY}
    changed = [yaml.safe_load(chart.rendered(path.read_text(), other)) for path in templates]
    assert images(changed) - images(objects) == {REGISTRY}


def test_braces_of_another_language_are_kept(tmp_path: Path) -> None:
    """`{{ $labels.pod }}` of an alert and `{{.Name}}` of a serving runtime are not Helm's."""
    one = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "odd"},
        "data": {"alert": "{{ $labels.pod }} is {{.Name}}", "image": "penstock/odd:1"},
    }
    chart.write([one], tmp_path)
    (template,) = (tmp_path / "templates").iterdir()
    values = yaml.safe_load((tmp_path / "values.yaml").read_text())["images"]
    assert yaml.safe_load(chart.rendered(template.read_text(), values)) == one


def test_a_chart_that_is_written_again_has_no_old_objects(made) -> None:
    objects, folder = made
    chart.write(objects[:3], folder)
    assert len(list((folder / "templates").iterdir())) == 3


def test_helm_renders_the_same(made) -> None:
    helm = os.environ.get("HELM") or shutil.which("helm")
    if helm is None:
        # Debian has no package of it; the rendering above needs none.
        pytest.skip("NOT TESTED: helm is not here. Install it, or name it by the variable HELM.")
    objects, folder = made
    command = [helm, "template", "penstock", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert by_name(list(yaml.safe_load_all(done.stdout))) == by_name(objects)
    other = [*command, "--set", f"images.mlflow={REGISTRY}"]
    done = subprocess.run(other, capture_output=True, text=True, check=True)
    assert images(list(yaml.safe_load_all(done.stdout))) - images(objects) == {REGISTRY}
    subprocess.run([helm, "lint", folder], capture_output=True, check=True)
