"""The overlays as they are applied."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from manifests_check.__main__ import CannotCheckError, builder, documents

MANIFESTS = Path(__file__).parents[3] / "manifests"


@pytest.fixture(scope="session")
def built() -> Callable[[str], list[dict[str, Any]]]:
    """`built(folder)` gives the resources of a kustomization; an ordinary tool builds them."""
    try:
        build = builder()
    except CannotCheckError as error:
        pytest.skip(f"OVERLAYS NOT BUILT: {error}")
    kept: dict[str, bytes] = {}

    def resources(folder: str) -> list[dict[str, Any]]:
        if folder not in kept:
            kept[folder] = pickle.dumps(list(documents(build(MANIFESTS / folder))))
        # Each caller may change its own.
        return [dict(one) for one in pickle.loads(kept[folder])]

    return resources


@pytest.fixture(scope="session")
def build(built: Callable[[str], list[dict[str, Any]]]) -> Callable[[str], list[dict[str, Any]]]:
    """`build(overlay)` gives its resources."""
    return lambda overlay: built(f"overlays/{overlay}")


@pytest.fixture(scope="session")
def with_all(built: Callable[[str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The production overlay with every optional component, for all tests."""
    return built("checks/optional")


@pytest.fixture
def optional(with_all: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for one test, which may change it."""
    return copy.deepcopy(with_all)
