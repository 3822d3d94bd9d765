"""Refuse words that the field does not use for what they mean, and images of speech.

They are looked for in the documents and in the comments, docstrings and messages of the code.
Decision records and the changelog name what was called what, so they are not looked at; neither is
code in a text, for a setting keeps its name until a release renames it.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = ("penstock/**/*.py", "components/*.py", "pipelines/*.py")
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
    r"(is|are|was|were|be|been|being) told": "is known, is reported, gets",
    r"told (apart|from)": "distinguished",
    r"tells? nothing": "shows nothing",
    r"hears?|obeys?": "gets, applies",
    r"wants? (said|told)": "is to be said",
    r"(gate|server|policy|version|candidate|database|registry|API server) (is|was) asked": "is "
    "called, queried, required",
    r"rows (that )?(are|were) asked": "rows that are sent",
    r"speaks? (of|for|to)": "is about, counts for, calls",
}
"""Each word, as a regular expression, and what to say."""

_CODE = re.compile(r"```.*?```|^    .*?$|`[^`]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)


def main() -> int:
    """Print each place; exit with 1 if there is one."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}; say: {say}"
        for pattern in (*DOCUMENTS, *CODE)
        for path in sorted(ROOT.glob(pattern))
        for line, word, say in findings(_text_of(path))
    ]
    for place in found:
        print(place)
    return 1 if found else 0


def _text_of(path: Path) -> str:
    """Return a document, or the comments and strings of a module, each on its own line."""
    text = path.read_text(encoding="utf-8")
    return comments_and_strings(text) if path.suffix == ".py" else text


def comments_and_strings(module: str) -> str:
    r"""Return the lines of a module with its sentences alone: no code, no single names.

    Example:
        >>> comments_and_strings('drill = "a text"\n# why: drill')
        'a text\n# why: drill'
    """
    # From Python 3.12 on an f-string is several tokens.
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None)}
    lines = [""] * (module.count("\n") + 1)
    for token in tokenize.generate_tokens(io.StringIO(module).readline):
        if token.type in kinds and " " in token.string:
            for number, part in enumerate(token.string.splitlines(), start=token.start[0] - 1):
                lines[number] += part.strip().strip('"') + " "
    return "\n".join(line.strip() for line in lines)


def findings(text: str) -> list[tuple[int, str, str]]:
    r"""Return line, word and what to say of each word that is refused, code left out.

    Example:
        >>> findings("The proxy runs.\nA splitter runs `splitter`.")
        [(2, 'splitter', 'proxy')]
    """
    words = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    return sorted(
        (words.count("\n", 0, match.start()) + 1, match[0], say)
        for word, say in SAY.items()
        for match in re.finditer(rf"\b(?:{word})\b", words, flags=re.IGNORECASE)
    )


if __name__ == "__main__":
    sys.exit(main())
