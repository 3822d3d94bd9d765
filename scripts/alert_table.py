"""Write the table of alerts in docs/dashboards.md from the rules, or check it with --check."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "manifests/components/monitoring/rules.yaml"
PAGE = ROOT / "docs/dashboards.md"
BEGIN = "<!-- Made by `make catalogue` of the rules; edit those instead. -->\n"
END = "<!-- Here ends what is made. -->\n"


def main() -> int:
    """Write or check it."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    made = before + BEGIN + _table() + END + after
    if "--check" not in sys.argv:
        PAGE.write_text(made, encoding="utf-8")
    elif text != made:
        print(f"{PAGE.relative_to(ROOT)} is not current: run `make catalogue`.")
        return 1
    return 0


def _table() -> str:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["spec"]["groups"]
    lines = [
        "| alert | severity, after | what it says | cause, and what to do |",
        "|---|---|---|---|",
    ]
    for group in groups:
        lines += [_line(rule) for rule in group["rules"] if "alert" in rule]
    return "\n".join(lines) + "\n"


def _line(rule: dict[str, Any]) -> str:
    said = rule["annotations"]
    cells = (
        f"`{rule['alert']}`",
        f"{rule['labels']['severity']}, {rule.get('for', 'at once')}",
        _plain(said["summary"]),
        _plain(said["description"]),
    )
    return f"| {' | '.join(cells)} |"


def _plain(template: str) -> str:
    """Return a template's text with names for what is filled in.

    What stands in it under a condition is left out.
    """
    text = re.sub(r" ?\{\{ with .*?\{\{ end \}\}", "", template)
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: _NAMES[found[1]], text)
    return re.sub(r"\{\{ \$value[^}]*\}\}", "N", text).replace("|", "\\|")


_NAMES = {
    name: name.upper().replace("MODEL_VERSION", "VERSION")
    for name in (
        "model",
        "model_version",
        "namespace",
        "pod",
        "feature",
        "thread",
        "service",
        "challenger",
    )
}


if __name__ == "__main__":
    sys.exit(main())
