"""The list of decision records, for `make catalogue`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made by `make catalogue`; edit what it is made of instead. -->"


def page() -> str:
    """Return docs/adr/README.md: the decision records by number."""
    lines = [
        "# Decisions",
        "",
        NOTE,
        "",
        "One record for each: context, decision, consequence.",
        "",
    ]
    for path in sorted((ROOT / "docs/adr").glob("0*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ").strip()
        number, text = path.name[:4], re.sub(r"^(ADR )?\d{4}[.:]? *[-:]? *", "", title)
        lines.append(f"- [{number}]({path.name}): {text}")
    lines += ["", "```{toctree}", ":hidden:", ":glob:", "", "0*", "```"]
    return "\n".join(lines) + "\n"
