"""The pipeline of docs/feast.md, as it is written there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

import penstock

PAGE = Path(__file__).parents[2] / "docs" / "feast.md"


def test_features_are_joined_in_the_image_that_has_feast(tmp_path: Path) -> None:
    written: dict[str, Any] = {}
    block = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[0]
    # Without this file's annotations as texts, which kfp does not read.
    exec(compile(block, str(PAGE), "exec", dont_inherit=True), written)
    compiler.Compiler().compile(written["loans"], str(tmp_path / "loans.yaml"))
    executors = yaml.safe_load((tmp_path / "loans.yaml").read_text())["deploymentSpec"]["executors"]
    images = {name: one["container"]["image"] for name, one in executors.items()}
    assert images["exec-retrieve-features"] == f"penstock/feast:{penstock.__version__}"


def test_an_image_that_was_not_pushed_with_the_others_has_its_plain_name(
    tmp_path: Path, monkeypatch: Any
) -> None:
    from penstock.components._image import image

    digests = tmp_path / "digests.json"
    digests.write_text(f'{{"version": "{penstock.__version__}", "images": {{}}}}')
    monkeypatch.setenv("PENSTOCK_IMAGE_DIGESTS", str(digests))
    assert image("feast") == f"penstock/feast:{penstock.__version__}"
