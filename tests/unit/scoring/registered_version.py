"""A registered version, to score with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fresh_store import fresh_store
from serving_process import ROW

from penstock.common import files
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.export.export import export
from penstock.model import BACKGROUND_NAME, digest_of
from penstock.records.export import FOLDER
from penstock.scoring.score import Order


@dataclass(frozen=True)
class Registered:
    """A version that is the champion of a registry.

    Args:
        folder: What was registered.
        digest: Digest of its ONNX form; empty: scikit-learn answers.
        store: The registry.
    """

    folder: Path
    digest: str
    store: str

    @property
    def options(self) -> tuple[str, ...]:
        """What makes a server answer as it is registered."""
        return ("--export", self.digest) if self.digest else ()

    def order(self, table: SourceSpec | Path, out: Path | str, /, **changes: Any) -> Order:
        """What is to be scored by it."""
        data = table if isinstance(table, SourceSpec) else SourceSpec(uri=str(table))
        order = Order(
            model="models:/adult@champion", data=data, out=str(out), tracking_uri=self.store
        )
        return replace(order, **changes)


@pytest.fixture(scope="session")
def registered(
    models: Callable[..., Path],
    instances: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Registered]:
    """`registered(task, onnx, **record)` returns a version in a registry of its own, made once."""
    from mlflow import MlflowClient

    from penstock.registry import versions

    home = tmp_path_factory.mktemp("registered")
    write_jsonl(home / "rows.jsonl", instances)
    ingest(SourceSpec(uri=str(home / "rows.jsonl")), output=home / "holdout")
    made: dict[str, Registered] = {}

    def get(task: str = "binary", *, onnx: bool = True, **record: Any) -> Registered:
        key = f"{task}-{onnx}-{len(made) if record else ''}"
        if key in made:
            return made[key]
        folder = home / key
        shutil.copytree(models(task), folder)
        path = folder / "penstock.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | record))
        rows = {name: [row[name] for row in instances] for name in ROW}
        (folder / BACKGROUND_NAME).write_text(json.dumps(rows))
        digest = ""
        if onnx:
            export(folder, holdout=home / "holdout", output=folder / FOLDER)
            digest = files.digest_of_folder(folder / FOLDER)
        store = fresh_store(home, f"{key}.db")
        client = MlflowClient(tracking_uri=store, registry_uri=store)
        client.create_registered_model("adult")
        tags = {versions.MODEL_DIGEST: digest_of(folder), versions.EXPORT_DIGEST: digest}
        for _ in range(2):
            client.create_model_version("adult", str(folder), tags=tags)
        client.set_registered_model_alias("adult", "champion", "1")
        made[key] = Registered(folder, digest, store)
        return made[key]

    return get


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSON has them."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
