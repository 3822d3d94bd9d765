"""Two processes that erase from the same files at the same time, each another request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ERASES = """
import sys, time
from pathlib import Path
from penstock.captures.erasure import erase_request
from penstock.captures.places import LocalPlace, RemotePlace

source, request, meeting = sys.argv[1], sys.argv[2], Path(sys.argv[3])
decisive = (".json", ".jsonl")


def meeting_first(write):
    def writes(place, folder, name, data):
        # Both have read what was there, and neither has put anything in its place.
        if name.startswith("predictions-") and name.endswith(decisive):
            (meeting / request).touch()
            until = time.monotonic() + 2
            while len(list(meeting.iterdir())) < 2 and time.monotonic() < until:
                time.sleep(0.01)
        write(place, folder, name, data)
    return writes


for kind in (LocalPlace, RemotePlace):
    kind.write = meeting_first(kind.write)
print(erase_request(source, request).rows)
"""


def erase_at_once(source: str, *requests: str, meeting: Path) -> list[int]:
    """Erase requests by processes of which each waits for the other before its decisive write.

    Args:
        source: A capture folder, or where segments are shipped to.
        requests: One for each process.
        meeting: An empty folder.

    Returns:
        How many rows each says that it erased.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _ERASES, source, request, str(meeting)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for request in requests
    ]
    ends = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), ends
    return [int(out) for out, _ in ends]
