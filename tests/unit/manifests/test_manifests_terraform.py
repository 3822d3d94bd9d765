"""The Terraform module: HCL that parses, and speaks of what the chart has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import chart
import hcl2
import pytest
import yaml

MODULE = Path(__file__).parents[3] / "manifests" / "terraform" / "main.tf"


@pytest.fixture(scope="module")
def module() -> dict[str, Any]:
    with MODULE.open() as stream:
        found: dict[str, Any] = hcl2.load(stream)
    return found


def names(blocks: list[dict[str, Any]]) -> set[str]:
    return {name.strip('"') for block in blocks for name in block if not name.startswith("__")}


def test_it_uses_what_it_declares(module) -> None:
    declared = names(module["variable"])
    used = set(re.findall(r"\bvar\.(\w+)", MODULE.read_text()))
    assert used == declared == {"chart", "chart_version", "images"}
    (resource,) = module["resource"]
    assert set(resource) == {'"helm_release"'}
    (release,) = resource.values()
    assert release['"penstock"']["values"] == ["${yamlencode({images = var.images})}"]
    (settings,) = module["terraform"]
    providers = settings["required_providers"][0]
    assert names([providers]) == {"helm"}


def test_its_images_are_those_of_the_chart(build, module, tmp_path: Path) -> None:
    chart.write(build("production"), tmp_path)
    values = yaml.safe_load((tmp_path / "values.yaml").read_text())
    assert set(values) == {"images"}
    (images,) = [block['"images"'] for block in module["variable"] if '"images"' in block]
    known = re.search(r"\[(.*)\]", images["validation"][0]["condition"])
    assert known
    assert set(re.findall(r"\w+", known[1])) == set(values["images"])
