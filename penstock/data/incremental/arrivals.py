"""Which files of a source came since the ingest before, or why that does not help. Pure."""

from __future__ import annotations

from penstock.data.incremental.kept import Kept, NotContinued
from penstock.data.sources.reader import Settled

_OF = "of the files that the ingest before read,"
_PARTS = 100
"""Files of a dataset up to which ingests add to it; each that brings rows adds one."""


def new_files(before: Kept, now: Kept) -> list[str]:
    """Return the files of a source that were not there at the ingest before, in their order.

    Args:
        before: What that ingest read.
        now: What is there now. How its columns are read is not known yet.

    Raises:
        NotContinued: If rows that were read then would not be the same now.

    Example:
        >>> before = Kept(release="1", source={}, files={"a.csv": "x"}, settled={})
        >>> new_files(before, before.model_copy(update={"files": {"a.csv": "x", "b.csv": "y"}}))
        ['b.csv']
    """
    if before.release != now.release:
        raise NotContinued(f"release {before.release} of Penstock read it, and this is another")
    _require_same_source(before, now)
    if before.table != now.table:
        raise NotContinued("the table was dropped and made anew")
    _require_kept(before, now)
    if len(before.parts) > _PARTS:
        raise NotContinued(f"the dataset is in {len(before.parts):,} files, and few are better")
    return [name for name in now.files if name not in before.files]


def settled_before(before: Kept) -> Settled:
    """Return how the columns were read.

    Raises:
        NotContinued: If all rows together settled that, those that are new among them.
    """
    if before.settled is None:
        raise NotContinued(
            "its first rows do not show how all are read; declare it by source.types, formats and "
            "encoding"
        )
    return before.settled


def _require_same_source(before: Kept, now: Kept) -> None:
    fields = sorted(before.source.keys() | now.source.keys())
    other = [f"source.{one}" for one in fields if before.source.get(one) != now.source.get(one)]
    if other:
        raise NotContinued(f"{', '.join(other)} was changed")


def _require_kept(before: Kept, now: Kept) -> None:
    gone = [name for name in before.files if name not in now.files]
    if gone:
        raise NotContinued(f"{_OF} {len(gone):,} disappeared: {gone[0]}")
    unmarked = [name for name in before.files if not (before.files[name] and now.files[name])]
    if unmarked:
        raise NotContinued(f"nothing says whether {unmarked[0]} was changed")
    changed = [name for name in before.files if before.files[name] != now.files[name]]
    if changed:
        raise NotContinued(f"{_OF} {len(changed):,} changed: {changed[0]}")
