"""What a model server's pod needs to check signatures: an argument and a mounted ConfigMap."""

from __future__ import annotations

from typing import Any

FOLDER = "/etc/penstock/trusted-keys"
"""Where the public keys lie in a pod."""

_VOLUME = "trusted-keys"


def arguments(config_map: str) -> list[str]:
    """Return the arguments of a server; none where no ConfigMap is named."""
    return [f"--trust={FOLDER}"] if config_map else []


def mounts(config_map: str) -> list[dict[str, Any]]:
    """Return the mounts of its container."""
    if not config_map:
        return []
    return [{"name": _VOLUME, "mountPath": FOLDER, "readOnly": True}]


def volumes(config_map: str) -> list[dict[str, Any]]:
    """Return the volumes of its pod. Without the ConfigMap the pod does not start."""
    return [{"name": _VOLUME, "configMap": {"name": config_map}}] if config_map else []
