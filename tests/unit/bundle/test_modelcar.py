"""An image of a version, read as the image specification says, holds the files that are served."""

from __future__ import annotations

import hashlib
import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from fresh_store import fresh_store
from mlflow import MlflowClient

from penstock.model import digest_of, export_digest_of
from penstock.pipelines import cli
from penstock.records.model import FILE_NAME, Model
from penstock.registry import versions

DECISION = f"sha256:{'d' * 64}"


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


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of a registered version: of what is in the files an image knows nothing."""
    folder = tmp_path / "version"
    (folder / "serving").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "MLmodel").chmod(0o600)
    (folder / "serving" / "model.onnx").write_bytes(bytes(range(256)) * 99)
    (folder / "serving" / f"{'a long name ' * 9}.json").write_text("{}")
    Model(
        name="linear",
        task="regression",
        target="y",
        columns=(),
        metric="rmse",
        score=1.0,
        parameters={},
        dataset="",
        seed=0,
        libraries={},
        trusted_types=(),
    ).write(folder / FILE_NAME)
    return folder


@pytest.fixture
def store(version: Path, tmp_path: Path) -> str:
    address = fresh_store(tmp_path)
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    client.create_registered_model("adult")
    tags = {
        versions.MODEL_DIGEST: digest_of(version),
        versions.EXPORT_DIGEST: export_digest_of(version),
        versions.DECISION_DIGEST: DECISION,
    }
    client.create_model_version("adult", str(version), tags=tags)
    client.set_registered_model_alias("adult", "champion", "1")
    return address


def test_it_holds_what_was_registered_and_is_the_same_each_time(
    version: Path, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("image", "again"):
        command = ["bundle", "models:/adult@champion", "--form", "modelcar"]
        command += ["--out", str(tmp_path / name), "--tracking-uri", store]
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
        assert manifest["annotations"]["io.penstock.decision-digest"] == DECISION
        assert config["config"]["Labels"] == manifest["annotations"]
        assert layout.document(whole)["annotations"] == manifest["annotations"]
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
    assert export_digest_of(tmp_path / "root/models") == export_digest_of(version)
