"""Write docs/adr/README.md, the list of decision records, or check it with --check."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made by `make catalogue`; edit what it is made of instead. -->"


def main() -> int:
    """Write or check it."""
    path = ROOT / "docs/adr/README.md"
    if "--check" not in sys.argv:
        path.write_text(page(), encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != page():
        print("docs/adr/README.md is not current: run `make catalogue`.")
        return 1
    return 0


def page() -> str:
    """Return the decision records by number."""
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


if __name__ == "__main__":
    sys.exit(main())
