"""What a server that begins anew remembers of the answers that it captured before."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.serving import capture

if TYPE_CHECKING:
    from penstock.serving.feedback import Memory


def restore(memory: Memory, folder: Path, *, version: str, rows: int) -> None:
    """Have labels find the answers that were captured before this process began.

    Labels that have come already are known to have come, and count no second time.

    Args:
        memory: What labels are joined with.
        folder: Where answers and labels were captured.
        version: Of the model; other versions' answers are not this one's.
        rows: How many rows are worth reading.
    """
    lines = capture.newest(folder, rows=rows)
    for request_id, group in groupby(lines, key=lambda line: line["request_id"]):
        answer = [line for line in group if line["version"] == version]
        # The beginning of the oldest file's first request may be gone.
        if [line["row"] for line in answer] == list(range(len(answer))) and answer:
            memory.add(
                request_id,
                scores=[line["score"] for line in answer],
                labels=[line["label"] for line in answer],
                mirrored=answer[0]["mirrored"],
            )
    # A label was kept only while its row was remembered, so older ones are of rows forgotten.
    labels = capture.newest(folder, rows=2 * rows, kind="feedback")
    memory.join([_truth(line) for line in labels])


def _truth(line: dict[str, Any]) -> tuple[str, int, Any]:
    return line["request_id"], line["row"], line["label"]
