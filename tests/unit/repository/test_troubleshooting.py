"""The guides' tables of what is seen when something fails: each message is one that is said."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

OTHERS = {
    'violates PodSecurity "restricted"', "is forbidden", "ImagePullBackOff",
    "no runtime found to support", "Invalid Host header", "no space left on device",
    "certificate verify failed", "content digest", "not found", "Pending", "Init",
    "storage-initializer",
}  # fmt: skip
"""What Kubernetes, KServe, MLflow, docker or OpenSSL says."""

FILLED_IN = {
    "it is not programmed": "it is not ",
    "there is no ServingRuntime penstock": "there is no ServingRuntime ",
    "cannot read the model from mlflow-artifacts": "KServe cannot read the model from ",
    "the gateway asks for a token, and none is named": "asks for a token, and none is named",
    "the gateway does not take the token": "does not take the token",
    "dask is": " in this step and ",
    "no exporter of that name is installed; there are console": "no exporter of that name is ",
    "opentelemetry is not installed": " is not installed",
}
"""Messages with a name in their midst, and what stands of them in the source."""


@cache
def said() -> tuple[str, ...]:
    """Every text of the source, one behind another where the source joins them."""
    return tuple(" ".join(text.split()) for text in _texts())


def _texts() -> Iterator[str]:
    for folder in ("penstock", "pipelines", "components", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(
                        str(v.value) if isinstance(v, ast.Constant) else "\0" for v in node.values
                    )
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
        for path in (ROOT / folder).rglob("*.sh"):
            yield path.read_text(encoding="utf-8")


def entries() -> Iterator[tuple[str, str]]:
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for rows in re.findall(r"^\| Seen \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M):
            for row in rows.splitlines():
                for message in re.findall(r"`([^`]+)`", row.split(" | ")[0]):
                    yield page.name, message


@pytest.mark.parametrize(("page", "message"), entries())
def test_a_message_in_a_table_of_failures_is_said(page: str, message: str) -> None:
    parts = re.split(r"\.\.\.|\b[A-Z]{2,}\w*\b|\bN\b|\d+", message)
    for part in (part.strip(" .,:;()/") for part in parts):
        # Shorter ones are in every text.
        looked_for = FILLED_IN.get(part, part)
        if len(part) > 5 and part not in OTHERS:
            assert any(looked_for.strip() in text for text in said()), f"{page}: {part}"


def test_there_are_tables() -> None:
    assert len({page for page, _ in entries()}) >= 5
