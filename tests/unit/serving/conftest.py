"""Servers that end with the module, and models whose record is changed."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from serving_process import ROW, Server, Start

from penstock.common import files
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.export.export import export
from penstock.model import BACKGROUND_NAME
from penstock.records.export import FOLDER
from penstock.records.model import Model
from penstock.records.reference import FILE_NAME, Reference, ReferenceColumn


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """`start(folder, *options, fault="")` returns a running server that ends with the module."""
    running: list[Server] = []

    def begin(folder: Path | str, *options: str, fault: str = "", wait: bool = True) -> Server:
        log = tmp_path_factory.mktemp("server") / "log"
        running.append(Server(folder, log, *options, fault=fault))
        return running[-1].wait() if wait else running[-1]

    yield begin
    for server in running:
        server.client.close()
        server.process.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def with_record(
    models: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """`with_record(**changes)` returns a copy of the binary model whose record is changed."""

    def copy(**changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("changed") / "model"
        shutil.copytree(models(), folder)
        path = folder / "penstock.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return folder

    return copy


@pytest.fixture(scope="session")
def trained(with_record: Callable[..., Path]) -> Path:
    """A model with levels and the distribution of its training rows, as `train` writes them."""
    place = with_record(levels=[{"column": "job", "values": ["clerk", "nurse", "pilot"]}])
    columns = Model.read(place / "penstock.json").columns
    reference = Reference(
        dataset="xxh3-128:00000000000000000000000000000001",
        rows=200,
        columns=tuple(
            ReferenceColumn(name=column.name, type=column.type, nulls=10 * index)
            for index, column in enumerate(columns)
        ),
    )
    reference.write(place / FILE_NAME)
    return place


@dataclass(frozen=True)
class Exported:
    """A model's folder with its ONNX form in it.

    Args:
        folder: The folder.
        digest: Digest of the ONNX form.
    """

    folder: Path
    digest: str

    @property
    def options(self) -> tuple[str, str]:
        """What makes a server answer with it."""
        return ("--export", self.digest)


@pytest.fixture(scope="session")
def exported(
    models: Callable[..., Path],
    instances: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Exported]:
    """`exported(task)` returns a copy of a model with its ONNX form, made once.

    With `background` it has the rows of `instances` to explain answers against.
    """
    home = tmp_path_factory.mktemp("exported")
    table = home / "rows.jsonl"
    table.write_text(
        "".join(json.dumps({name: row[name] for name in ROW}) + "\n" for row in instances)
    )
    ingest(SourceSpec(uri=str(table)), output=home / "holdout")
    made: dict[tuple[str, bool], Exported] = {}

    def get(task: str = "binary", *, background: bool = False) -> Exported:
        if (task, background) not in made:
            folder = home / f"{task}-{background}"
            shutil.copytree(models(task), folder)
            if background:
                rows = {name: [row[name] for row in instances] for name in ROW}
                (folder / BACKGROUND_NAME).write_text(json.dumps(rows))
            output = folder / FOLDER
            record = export(folder, holdout=home / "holdout", output=output)
            assert record.file, record.reason
            made[task, background] = Exported(folder, files.digest_of_folder(output))
        return made[task, background]

    return get


@pytest.fixture(scope="module")
def start_onnx(start: Start, exported: Callable[..., Exported]) -> Start:
    """`start_onnx(*options)`: as `start`, of the binary model by ONNX Runtime.

    It is ready in a second and by scikit-learn in four: for tests of what both servers do.
    """

    def begin(*options: str, fault: str = "", wait: bool = True) -> Server:
        made = exported()
        return start(made.folder, *made.options, *options, fault=fault, wait=wait)

    return begin
