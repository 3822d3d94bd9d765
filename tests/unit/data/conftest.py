from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.errors import PenstockError
from penstock.records.dataset import Dataset


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "results" / "dataset"


@pytest.fixture
def read(output: Path) -> Callable[..., Dataset]:
    """Ingest a source into `output`."""

    def run(uri: object, **settings: object) -> Dataset:
        source = SourceSpec.parse({"uri": str(uri), **settings}, where="source")
        return ingest(source, output=output)

    return run


@pytest.fixture
def refuse(read: Callable[..., Dataset], output: Path) -> Callable[..., str]:
    """Ingest a source that must be refused, leaving nothing behind; return the message."""

    def run(uri: object, error: type[PenstockError] | None = None, **settings: object) -> str:
        with pytest.raises(error or PenstockError) as caught:
            read(uri, **settings)
        left = list(output.parent.iterdir()) if output.parent.exists() else []
        assert left == []
        return str(caught.value)

    return run
