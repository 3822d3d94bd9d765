"""How the rows of a source are read through once its reader is made, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.common.secrets import shown
from penstock.data.opening import Opened
from penstock.data.sources.addresses import is_local, local_path
from penstock.data.sources.reader import Again, Misread, Reader
from penstock.data.spec import SourceSpec
from penstock.data.table import read_dataset
from penstock.data.types.value import TypeMismatch
from penstock.records.dataset import Dataset
from penstock.records.origin import Origin
from penstock.records.retrieval import FeatureRetrieval
from penstock.redaction import redact, redact_address


def read_through(
    reader: Reader, source: SourceSpec, write: Callable[[], Dataset], *, whole: bool = False
) -> Dataset:
    """Infer and write; where a value does not fit what was inferred, look at all rows once.

    Args:
        reader: Of the source.
        source: How it is read.
        write: Writes the rows that the reader yields, from the first one on.
        whole: Look at all rows before the first type is settled.

    Raises:
        InputError: If a value is none of its column's, whatever the others are.
    """
    while True:
        try:
            reader.infer(whole=whole)
            return write()
        except TypeMismatch as mismatch:
            if whole or mismatch.column in source.types:
                raise reader.explain(mismatch) from mismatch
            whole = True
        except Misread as found:
            reader.adapt(found)
        except Again:
            continue


def facts_of(version: Opened, reader: Reader, source: SourceSpec, *, called: str) -> dict[str, Any]:
    """Return what a dataset's record says of its source; ask once the rows were read.

    Args:
        version: What was read.
        reader: What read it.
        source: How.
        called: What the record calls the source; empty for its address.
    """
    return {
        "source": shown(called or source.uri, where="source.uri"),
        "notes": reader.notes(),
        "assumptions": tuple(reader.assumptions()),
        "reading": reader.reading(),
        "origin": _origin(version, source, called=called),
    }


def _origin(version: Opened, source: SourceSpec, *, called: str) -> Origin:
    """Return how the same rows are read again, without what is secret in clear."""
    uri = called or version.pinned.uri
    pinned = source.model_copy(
        update={
            "uri": str(Path(local_path(uri)).absolute()) if is_local(uri) else redact_address(uri),
            "version": version.pinned.version,
            "query": redact(source.query),
            "incremental": "",
        }
    )
    settings = pinned.model_dump(mode="json", exclude_defaults=True)
    retrieval = _retrieval(source.uri)
    return Origin(source=settings, reference=version.reference, retrieval=retrieval)


def _retrieval(uri: str) -> FeatureRetrieval | None:
    """Return which features were joined to the rows of a dataset that is read as a table."""
    folder = Path(local_path(uri)) if is_local(uri) else None
    if folder is None or Dataset.record_in(folder) is None:
        return None
    origin = read_dataset(folder).origin
    return None if origin is None else origin.retrieval
