"""A version as an OCI image that holds its files: what KServe calls a ModelCar.

An image layout: https://github.com/opencontainers/image-spec/blob/main/image-layout.md. The files
are below `/models`, as KServe looks for them, and anybody may read them. Nothing in it depends on
when, where or by whom it is made, so a version has one digest; the layer is not compressed, since
what a compressor writes is its release's own.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from penstock.common import files

PLACE = "models"
PLATFORMS = ("amd64", "arm64")
"""An engine takes only an image of its own platform; the files are the same for each."""

_OCI = "application/vnd.oci.image."
_REFERENCE = "org.opencontainers.image.ref.name"


def write(folder: Path, made: Path, *, tag: str, annotations: Mapping[str, str]) -> str:
    """Write a folder as an image layout.

    Args:
        folder: The version's files.
        made: An empty folder.
        tag: What the image is called in the layout.
        annotations: What is said of it, by keys of the image format.

    Returns:
        Its digest, `sha256:...`: that of the index over all platforms, which a registry keeps.

    Example:
        >>> Path("model").mkdir()
        >>> Path("image").mkdir()
        >>> _ = Path("model/MLmodel").write_text("flavors: {}")
        >>> write(Path("model"), Path("image"), tag="3", annotations={})
        'sha256:29e8bba8f4947689faa1f67f067e6947bb14a0923000a096dbb925ac0c1dcc20'
    """
    layer = _layer(folder, made)
    manifests = [_manifest(made, layer, machine, annotations) for machine in PLATFORMS]
    index = {"schemaVersion": 2, "mediaType": f"{_OCI}index.v1+json", "manifests": manifests}
    whole = _blob(made, {**index, "annotations": dict(annotations)}, kind="index.v1+json")
    files.write_text(made / "oci-layout", _text({"imageLayoutVersion": "1.0.0"}))
    entry = {**whole, "annotations": {_REFERENCE: tag}}
    files.write_text(made / "index.json", _text({**index, "manifests": [entry]}))
    return str(whole["digest"])


def _manifest(
    made: Path, layer: dict[str, Any], machine: str, annotations: Mapping[str, str]
) -> dict[str, Any]:
    platform = {"architecture": machine, "os": "linux"}
    config = {
        **platform,
        "config": {"Labels": dict(annotations)},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}manifest.v1+json",
        "config": _blob(made, config, kind="config.v1+json"),
        "layers": [layer],
        "annotations": dict(annotations),
    }
    return {**_blob(made, manifest, kind="manifest.v1+json"), "platform": platform}


def _blob(made: Path, content: Mapping[str, Any], *, kind: str) -> dict[str, Any]:
    """Write a document under its digest, and return what refers to it."""
    data = _text(content).encode()
    digest = hashlib.sha256(data).hexdigest()
    (_blobs(made) / digest).write_bytes(data)
    return {"mediaType": f"{_OCI}{kind}", "digest": f"sha256:{digest}", "size": len(data)}


def _layer(folder: Path, made: Path) -> dict[str, Any]:
    partial = _blobs(made) / "layer"
    with partial.open("wb") as stream:
        hashing = _Hashing(stream)
        with tarfile.open(
            fileobj=cast("BinaryIO", hashing), mode="w|", format=tarfile.PAX_FORMAT
        ) as tar:
            tar.addfile(_entry(PLACE, folder))
            for path in sorted(folder.rglob("*")):
                entry = _entry(f"{PLACE}/{path.relative_to(folder).as_posix()}", path)
                if path.is_dir():
                    tar.addfile(entry)
                    continue
                with path.open("rb") as content:
                    tar.addfile(entry, content)
    digest = hashing.digest.hexdigest()
    size = partial.stat().st_size
    partial.rename(partial.with_name(digest))
    return {"mediaType": f"{_OCI}layer.v1.tar", "digest": f"sha256:{digest}", "size": size}


def _entry(name: str, path: Path) -> tarfile.TarInfo:
    """Return a file's or a folder's entry: of root, without a time, readable by anybody."""
    entry = tarfile.TarInfo(name)
    if path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
    else:
        entry.size, entry.mode = path.stat().st_size, 0o644
    return entry


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._stream.write(data)


def _blobs(made: Path) -> Path:
    place = made / "blobs" / "sha256"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
