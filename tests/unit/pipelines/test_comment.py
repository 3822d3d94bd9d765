"""The end of a run as a comment: text of the table in it is only text, and no secret is in it."""

from __future__ import annotations

from pathlib import Path

from penstock.pipelines.comment import write_comment
from penstock.pipelines.run_result import RunResult


def commented(folder: Path, reason: str, *settings: str) -> str:
    ended = RunResult(
        outcome="failed",
        reason=reason,
        folder=folder,
        log=folder / "log",
        home=folder,
        tracking_uri="",
        settings=settings,
    )
    write_comment(ended, folder / "comment.md")
    return (folder / "comment.md").read_text(encoding="utf-8")


def test_a_secret_is_taken_out_before_it_is_escaped(tmp_path: Path) -> None:
    address = "source.uri=postgresql://ann:hunter2_x@db/loans"
    text = commented(tmp_path, f"ingest failed: {address}", address)
    assert "hunter2" not in text
    assert text.count("db/loans") == 2


def test_text_of_the_table_is_no_link_no_mention_and_no_command(tmp_path: Path) -> None:
    text = commented(tmp_path, "/merge @ann #12 !7 www.evil.example http://evil.example <b> [x](y)")
    assert text.splitlines()[2] == (
        "&#47;merge &#64;&#8203;ann \\#&#8203;12 \\!&#8203;7 www&#46;evil.example "
        "http:&#47;&#47;evil.example &lt;b&gt; \\[x\\]\\(y\\)"
    )
