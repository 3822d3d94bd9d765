"""Tables in Google's storage, with gRPC and, as in the image that reads, without."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gcs_emulator import offered

from penstock.records.dataset import Dataset

READ = """
import sys
from pathlib import Path
{first}
from penstock.data.ingest import ingest
from penstock.data.spec import SourceSpec
from penstock.errors import InputError
for number, uri in enumerate(sys.argv[2:]):
    print(ingest(SourceSpec(uri=uri), output=Path(sys.argv[1]) / str(number)).content)
try:
    ingest(SourceSpec(uri="gs://bucket/absent.csv"), output=Path(sys.argv[1]) / "none")
except InputError as error:
    print(error)
print(sys.modules.get("grpc") is not None)
writer = "google.cloud.storage.asyncio.async_appendable_object_writer"
print(getattr(sys.modules.get(writer), "__file__", None) is not None)
"""


@pytest.mark.parametrize(
    "grpc",
    [
        pytest.param(True, id="grpc"),
        pytest.param(False, id="no-grpc", marks=pytest.mark.long),
    ],
)
def test_a_bucket_is_read_with_and_without_grpc(
    grpc: bool, tmp_path: Path, read: Callable[..., Dataset]
) -> None:
    parts = tmp_path / "bucket" / "parts"
    parts.mkdir(parents=True)
    (parts / "1.csv").write_text("a,b\n1,x\n")
    (parts / "2.csv").write_text("a,b\n2,y\n")
    whole = read(parts).content
    (tmp_path / "bucket" / "whole.csv").write_text("a,b\n1,x\n2,y\n")
    addresses = ["gs://bucket/whole.csv", "gs://bucket/parts", "gcs://bucket/parts/*.csv"]
    script = READ.format(first="" if grpc else "sys.modules['grpc'] = None")
    with offered(tmp_path / "bucket") as environment:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, tmp_path / "read", *addresses],
            env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stdout.splitlines() if not line.startswith("penstock|")]
    assert said[:3] == [whole] * 3
    assert "there is no such file" in said[3]
    # The oldest gcsfs that is allowed knows nothing of gRPC.
    used = grpc and importlib.util.find_spec("gcsfs.extended_gcsfs") is not None
    assert said[-2:] == [str(used)] * 2
