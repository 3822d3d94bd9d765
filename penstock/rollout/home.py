"""Where the local router keeps its state."""

from __future__ import annotations

import os
from pathlib import Path


def local_home() -> Path:
    """Return `PENSTOCK_HOME`, which `penstock run` sets, else `~/.penstock`."""
    given = os.environ.get("PENSTOCK_HOME", "")
    return Path(given) if given else Path.home() / ".penstock"
