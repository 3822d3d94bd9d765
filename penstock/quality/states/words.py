"""How many words the texts of a column have."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.quality.states.base import OnePass, Rows

_WORD = (
    r"[^\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}"
    r"\x{3000}]+"
)
"""What is no white space to Python; Arrow's own class knows ASCII's alone."""


@dataclass
class Words(OnePass):
    """Counts words: what stands between white space.

    Args:
        column: A column of texts.
        texts: Texts.
        words: Words in all of them.
    """

    column: str
    texts: int = 0
    words: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (self.column,)

    def update(self, rows: Rows) -> None:
        """Take a batch in."""
        import pyarrow.compute as pc

        texts = rows.values(self.column)
        self.texts += len(texts)
        if len(texts):
            self.words += int(pc.sum(pc.count_substring_regex(texts, _WORD)).as_py())

    def merge(self, other: Words) -> None:
        """Take in what another state saw."""
        self.texts += other.texts
        self.words += other.words

    def finish(self) -> float:
        """Return the mean number of words, 0 without texts."""
        return self.words / self.texts if self.texts else 0.0
