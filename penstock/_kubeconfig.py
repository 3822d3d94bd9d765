"""Imports how Kubernetes' client reads a kubeconfig, without classes of all that is in a cluster.

`import kubernetes` loads 800 generated modules: most of the import's time, and 26 MB that the image
which deploys does not hold. Penstock speaks to the API server itself, and takes of the client only
what reads a kubeconfig and renews its tokens.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from penstock.errors import MissingLibraryError

_NAME = "kubernetes"
_CLIENT = f"{_NAME}.client"
_GENERATED = f"{_CLIENT}.models"


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
        return importlib.import_module(f"{_NAME}.config")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == _NAME]:
            del sys.modules[name]


def _place(name: str) -> ModuleType:
    """Put a package where its modules are found, without running what it does when imported."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise MissingLibraryError(_NAME, extra="laptop")
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    return package
