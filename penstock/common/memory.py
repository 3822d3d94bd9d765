"""Memory that was freed, returned to the system."""

from __future__ import annotations

import ctypes
import sys


def return_freed() -> None:
    """Return what allocators keep of freed memory to the system.

    Arrow and the C library keep freed blocks for the next of their size. A step whose phases hold
    other sizes would keep those of each beside the others: a split a quarter more than it uses.
    It takes milliseconds, so it is called between phases, not between batches. Where the C library
    is not glibc, Arrow's memory alone is returned.

    Example:
        >>> return_freed()
    """
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
