"""Imports gcsfs without gRPC, by which it reaches zonal buckets alone.

gcsfs reads every other bucket over Google's JSON interface, by itself. Its modules import Google's
clients over gRPC all the same. The image that reads has none (`images/left-out.toml`).
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

_NAMES = {
    "async_appendable_object_writer": (
        "AsyncAppendableObjectWriter", "_DEFAULT_FLUSH_INTERVAL_BYTES",
    ),
    "async_multi_range_downloader": ("AsyncMultiRangeDownloader",),
}  # fmt: skip
"""What gcsfs takes of `google.cloud.storage.asyncio`, by module."""


def load() -> None:
    """Import gcsfs; where gRPC is not installed, with stand-ins for the clients that need it.

    They are gone afterwards: whatever needs such a client then fails as it does without gRPC.
    """
    with_grpc = importlib.util.find_spec("grpc") is not None
    stand_ins = {} if with_grpc or "gcsfs" in sys.modules else _stand_ins()
    sys.modules.update(stand_ins)
    try:
        import gcsfs  # noqa: F401
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _stand_ins() -> dict[str, ModuleType]:
    made = {}
    for module, names in _NAMES.items():
        stand_in = ModuleType(f"google.cloud.storage.asyncio.{module}")
        vars(stand_in).update(dict.fromkeys(names))
        made[stand_in.__name__] = stand_in
    return made
