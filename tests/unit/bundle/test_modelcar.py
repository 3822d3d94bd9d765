"""An image of a version, read as the image specification says, holds the files that are served."""

from __future__ import annotations

import hashlib
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.model import digest_of, export_digest_of
from penstock.pipelines import cli


class Layout:
    """An image layout; whatever is read by its digest is hashed first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}

    def blob(self, reference: dict[str, Any]) -> Path:
        algorithm, _, digest = reference["digest"].partition(":")
        path = self.folder / "blobs" / algorithm / digest
        assert path.stat().st_size == reference["size"]
        assert hashlib.new(algorithm, path.read_bytes()).hexdigest() == digest
        return path

    def document(self, reference: dict[str, Any]) -> dict[str, Any]:
        found = json.loads(self.blob(reference).read_text())
        assert found.get("mediaType", reference["mediaType"]) == reference["mediaType"]
        return found


def test_it_holds_what_was_registered_and_is_the_same_each_time(
    registered: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = registered("binary")
    for name in ("image", "again"):
        command = ["bundle", "models:/adult@champion", "--form", "modelcar"]
        command += ["--out", str(tmp_path / name), "--tracking-uri", version.store]
        assert cli.main(command) == 0
    assert "skopeo copy --all --preserve-digests oci:" in capsys.readouterr().out
    layout = Layout(tmp_path / "image")
    again = Layout(tmp_path / "again")
    written = sorted(path.relative_to(layout.folder) for path in layout.folder.rglob("*"))
    assert written == sorted(path.relative_to(again.folder) for path in again.folder.rglob("*"))
    files = [path for path in written if (layout.folder / path).is_file()]
    assert all(
        (layout.folder / at).read_bytes() == (again.folder / at).read_bytes() for at in files
    )

    (whole,) = json.loads((layout.folder / "index.json").read_text())["manifests"]
    assert whole["annotations"] == {"org.opencontainers.image.ref.name": "1"}
    seen = {layout.blob(whole)}
    for reference in layout.document(whole)["manifests"]:
        manifest = layout.document(reference)
        config = layout.document(manifest["config"])
        (layer,) = manifest["layers"]
        # Not compressed: the layer is what the configuration calls its content.
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar"
        assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
        named = {"os": config["os"], "architecture": config["architecture"]}
        assert named == reference["platform"]
        assert manifest["annotations"]["io.penstock.model"] == "models:/adult/1"
        seen |= {layout.blob(one) for one in (reference, manifest["config"], layer)}
    assert {layout.folder / at for at in files} - seen == {
        layout.folder / "index.json",
        layout.folder / "oci-layout",
    }

    with tarfile.open(layout.blob(layer)) as tar:
        members = tar.getmembers()
        tar.extractall(tmp_path / "root", filter="data")
    assert members[0].name == "models"
    for member in members:
        assert (member.uid, member.gid, member.mtime) == (0, 0, 0)
        assert member.mode & stat.S_IROTH
        assert not member.isdir() or member.mode & stat.S_IXOTH
    digest = manifest["annotations"]["io.penstock.model-digest"]
    assert digest_of(tmp_path / "root/models") == digest
    assert export_digest_of(tmp_path / "root/models") == export_digest_of(version.folder)
