"""Imports how Kubernetes' client reads a kubeconfig, without classes of all that is in a cluster.

`import kubernetes` loads 800 generated modules: most of the import's time, and 26 MB that the image
which deploys does not hold. Penstock calls the API server itself, and takes of the client only
what reads a kubeconfig and renews its tokens.

A kubeconfig of old signs in to Google by `auth-provider: gcp`, which Kubernetes 1.26 ended. For it
alone the client imports google-auth, and with it cryptography (13 MB): where it is not installed,
such a kubeconfig is refused, and every other one read.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from penstock.errors import MissingLibraryError, ServiceError

_NAME = "kubernetes"
_CLIENT = f"{_NAME}.client"
_GENERATED = f"{_CLIENT}.models"
_GOOGLE = ("google", "google.auth", "google.auth.transport", "google.auth.transport.requests")


def load() -> Any:
    """Return the module `kubernetes.config`.

    Where nothing has imported the client yet, nothing of it stays imported under its name: whoever
    imports it later gets the whole.

    Raises:
        MissingLibraryError: If the client is not installed.
    """
    if _NAME in sys.modules:
        return importlib.import_module(f"{_NAME}.config")
    try:
        _place(_NAME)
        client: Any = _place(_CLIENT)
        sys.modules[_GENERATED] = ModuleType(_GENERATED)
        for module, taken in (("configuration", "Configuration"), ("api_client", "ApiClient")):
            found = importlib.import_module(f"{_CLIENT}.{module}")
            setattr(client, taken, getattr(found, taken))
        return _without_google() or importlib.import_module(f"{_NAME}.config")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == _NAME]:
            del sys.modules[name]


def _without_google() -> Any:
    """Return the module where google-auth is not installed; None: it is."""
    absent = [name for name in _GOOGLE if not _is_there(name)]
    if not absent:
        return None
    try:
        for name in absent:
            sys.modules[name] = ModuleType(name)
        config: Any = importlib.import_module(f"{_NAME}.config")
    finally:
        for name in absent:
            sys.modules.pop(name, None)
    config.kube_config.google = SimpleNamespace(auth=SimpleNamespace(default=_no_google))
    return config


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # What it is a part of is not there.
        return False


def _no_google(**_: Any) -> None:
    raise ServiceError(
        "the user signs in by `auth-provider: gcp`, and google-auth is not installed",
        where="KUBECONFIG",
        remedy="Use the plugin gke-gcloud-auth-plugin, which replaced it, or a token.",
    )


def _place(name: str) -> ModuleType:
    """Put a package where its modules are found, without running what it does when imported."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise MissingLibraryError(_NAME, extra="laptop")
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    return package
