"""A process in which only what an image has can be imported."""

from __future__ import annotations

import re
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]

HIDE = """
import importlib, sys

hidden = set(sys.argv[1].split(","))

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Hide())
"""
"""Begins a program: the first argument names the modules that are hidden, between commas."""


def hidden_from(image: str) -> list[str]:
    """Top-level modules that are installed here and not in the image."""
    lock = (ROOT / "images" / "locks" / f"{image}.txt").read_text()
    # Penstock and the executor of kfp are in every image besides what the lock holds.
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE)) | {"penstock", "kfp"}
    return [
        module
        for module, owners in packages_distributions().items()
        if not locked & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}
    ]
