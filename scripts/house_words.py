"""Refuse words in the documents that the field does not use for what they mean.

Decision records and the changelog tell what was called what, so they are not looked at; neither is
code in them, for a setting keeps its name until a release renames it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "components/README.md",
    "docs/*.md",
    "docs/reference/*.rst",
)
SAY = {
    r"splitters?": "proxy",
    r"(local|canary's) front|front process|the front's": "proxy",
    r"leash": "parent watchdog",
    r"(state )?keeper": "state store",
    r"contender": "comparison baseline",
    r"fall-?out": "false positive rate",
    r"a drill|drills": "fault injection",
    r"people's word|on whose word": "approval",
    r"audit trail": "audit log",
    r"(the answer )?in disguise": "possible target leakage",
    r"surely within": "the whole confidence interval lies within",
    r"not a moment": "not a valid timestamp",
    r"does not obey": "rejected the update",
    r"made-up": "simulated",
}
"""Each word, as a regular expression, and what to say."""

_CODE = re.compile(r"```.*?```|^    .*?$|`[^`]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)


def main() -> int:
    """Print each place; exit with 1 if there is one."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}; say: {say}"
        for pattern in DOCUMENTS
        for path in sorted(ROOT.glob(pattern))
        for line, word, say in findings(path.read_text(encoding="utf-8"))
    ]
    for place in found:
        print(place)
    return 1 if found else 0


def findings(text: str) -> list[tuple[int, str, str]]:
    r"""Return line, word and what to say of each word that is refused, code left out.

    Example:
        >>> findings("The proxy runs.\nA splitter runs `splitter`.")
        [(2, 'splitter', 'proxy')]
    """
    prose = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    return sorted(
        (prose.count("\n", 0, match.start()) + 1, match[0], say)
        for word, say in SAY.items()
        for match in re.finditer(rf"\b(?:{word})\b", prose, flags=re.IGNORECASE)
    )


if __name__ == "__main__":
    sys.exit(main())
