"""The encoding of bytes that are not UTF-8: what chardet finds likely and reads as text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Assumption

_CANDIDATES = {
    "cp1252": 1.3,
    **dict.fromkeys(
        ("cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8-r", "koi8-u"),
        1.0,
    ),
    **dict.fromkeys(
        ("cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949", "cp874", "cp1258"), 1.0
    ),
    **dict.fromkeys(("iso8859-2", "iso8859-5", "iso8859-7", "iso8859-13", "iso8859-15"), 0.9),
    **dict.fromkeys(("mac-roman", "cp850", "cp852", "cp866", "cp437"), 0.8),
}
"""Encodings of tables, and how often they are met, as a factor."""

_CLEARLY = 1.25
"""How many times likelier a reading must be than the next."""

_FEW = 6
_PER_WORD = 0.45
"""By how much more, for each word below `_FEW`, where the next is cp1252: it is met most."""

_SHOWN = 4
"""Words that show how a reading looks."""

_SIGNS = frozenset(
    "\u20ac\u2013\u2014\u2018\u2019\u201c\u201d\u201e\u201a\u2026\u2022\u2122\u2030\u2116"
    "\xa0\xa1\xa2\xa3\xa5\xa7\xa9\xaa\xab\xad\xae\xb0\xb1\xb2\xb3\xb4\xb5\xb7\xb9\xba\xbb\xbc\xbd"
    "\xbe\xbf\xd7"
)
"""Signs that text has beside letters: currencies, dashes, quotes, degrees …"""

_INSIDE = frozenset("\u2019\u2018\xb7\xb4\xad\u2013\xa0\u2014")
"""Signs that stand between two letters."""

_ALPHABETS = (
    "äöüßé",  # German
    "àâæçéèêëîïôœùûüÿ",  # French
    "áéíñóúüªº",  # Spanish
    "áàâãçéêíóôõúüªº",  # Portuguese
    "àèéìíîòóùúº",  # Italian
    "àçéèíïóòúü",  # Catalan
    "áéèêëïóöü",  # Dutch
    "äåöéüà",  # Swedish, Finnish
    "æøåéèêóòôöäü",  # Danish, Norwegian
    "áæðéíóöúýþ",  # Icelandic, Irish
    "äõöüšž",  # Estonian
    "ëç",  # Albanian
    "ąćęłńóśźż",  # Polish
    "áčďéěíňóřšťúůýžöüä",  # Czech
    "áäčďéíĺľňóôŕšťúýžě",  # Slovak
    "áéíóöőúüűä",  # Hungarian
    "ăâîşţșțé",  # Romanian
    "čćđšž",  # Croatian, Slovene
    "çğıîöşüâ",  # Turkish
    "ąčęėįšųūž",  # Lithuanian
    "āčēģīķļņōŗšūž",  # Latvian
)
"""Letters beyond a to z, as Unicode's CLDR lists them for each language."""


@dataclass(frozen=True)
class Encoding:
    """The encoding of a file.

    Attributes:
        name: What Python calls it.
        assumption: What to say of it, where it was guessed.
    """

    name: str
    assumption: Assumption | None = None


@dataclass(frozen=True)
class _Reading:
    encoding: str
    text: str
    likely: float


def guess_encoding(sample: bytes, *, where: str) -> Encoding:
    """Return the likeliest encoding of bytes that are not UTF-8.

    chardet (7) compares the pairs of bytes with those of each language in each encoding; here only
    cells with other bytes than ASCII are looked at, each once. A reading counts less where its
    letters are of no one language or signs stand within words.

    Args:
        sample: Bytes of a text file.
        where: The file's name.

    Raises:
        ReadingError: If two readings with different letters are about as likely.
        InputError: If none is plausible, or some bytes of a UTF-8 text are damaged.
    """
    _check_damaged(sample, where)
    readings = _readings(sample)
    if not readings:
        raise InputError(
            "the encoding cannot be detected",
            where=where,
            remedy="Name it by encoding, for example encoding: cp1252.",
        )
    best, *rivals = readings
    near = [best, *(other for other in rivals if best.likely < _needed(best, other) * other.likely)]
    if len(near) > 1:
        near = near[:4]
        shown = "; ".join(f"{r.encoding}: {_words(r, near)}" for r in near)
        raise ReadingError(
            f"the text is not UTF-8, and its encoding is not certain. It reads as {shown}",
            where=where,
            remedy="Set encoding to the one whose letters are right, for example encoding: "
            f"{best.encoding}.",
            proposal={"encoding": best.encoding},
        )
    return _guessed(best.encoding, _words(best, readings[:2]), "the text is not UTF-8")


def _guessed(name: str, words: str, why: str) -> Encoding:
    assumption = Assumption(
        risk="high",
        text=f"The encoding was guessed, since {why}: {name}, in which words are {words}",
        setting=f"encoding: {name}, or another",
    )
    return Encoding(name, assumption)


def _check_damaged(sample: bytes, where: str) -> None:
    """Refuse a UTF-8 text in which a few bytes are wrong: no other encoding reads the rest."""
    text = sample.decode(errors="replace")
    wrong = text.count("\ufffd")
    if sum(character > "\x7f" for character in text) > 3 * wrong:
        line = text.count("\n", 0, text.index("\ufffd")) + 1
        raise InputError(
            f"the text is UTF-8, but for {wrong} damaged places; the first is {line - 1} lines "
            f"below {text.splitlines()[0]!r:.60}",
            where=where,
            remedy="Correct them, or name the encoding in which all of it is written by encoding.",
        )


def _needed(best: _Reading, other: _Reading) -> float:
    """Return how many times likelier one reading must be to be preferred to another."""
    if other.encoding != "cp1252":
        return _CLEARLY
    differing = len(_differing(best, [other]))
    return _CLEARLY + _PER_WORD * max(0, _FEW - differing)


def guess_utf16(sample: bytes) -> Encoding | None:
    """Return utf-16-le or utf-16-be if bytes are that without a mark, else None.

    Text in most languages then has a zero in every second byte wherever it is ASCII.
    """
    pairs = len(sample) // 2
    if pairs < 2 or b"\0" not in sample:
        return None
    for encoding, high in (("utf-16-le", 1), ("utf-16-be", 0)):
        zeros = sample[high::2].count(0)
        if sample[1 - high :: 2].count(0) or 4 * zeros < pairs:
            continue
        try:
            text = sample[: 2 * pairs].decode(encoding)
        except UnicodeDecodeError:
            continue
        if all(character.isprintable() or character in "\r\n\t" for character in text):
            first = repr(text.split("\n")[0].strip())[:40]
            return _guessed(encoding, first, "the file has no byte order mark")
    return None


def _readings(sample: bytes) -> list[_Reading]:
    """Return how the bytes can be read, likeliest first, each text once."""
    import chardet

    evidence = _evidence(sample)
    found: dict[str, _Reading] = {}
    if _are_signs(evidence):
        return [_Reading("cp1252", evidence.decode("cp1252"), 1.0)]
    results = chardet.detect_all(
        evidence,
        ignore_threshold=True,
        compat_names=False,
        include_encodings=_CANDIDATES,
        max_bytes=len(evidence) + 1,
    )
    scores = {str(result["encoding"]): result["confidence"] for result in results}
    for encoding, usual in _CANDIDATES.items():
        try:
            text = evidence.decode(encoding)
            sample.decode(encoding)
        except UnicodeDecodeError as error:
            if error.end < len(sample) - 4:
                continue
            text = evidence.decode(encoding, errors="ignore")
        likely = scores.get(encoding, 0.0) * usual * _plausible(text)
        if likely > 0 and likely > found.get(text, _Reading("", "", 0.0)).likely:
            found[text] = _Reading(encoding, text, likely)
    return sorted(found.values(), key=lambda reading: -reading.likely)


def _are_signs(evidence: bytes) -> bool:
    """Whether all that is not ASCII are signs like the euro's or degrees, which say little."""
    text = evidence.decode("cp1252", errors="replace")
    letters = any(character > "\x7f" and character.isalpha() for character in text)
    return not letters and _plausible(text) == 1


def _evidence(sample: bytes) -> bytes:
    """Return the cells that are not ASCII, each once; no second byte of a letter is a cut."""
    cells = re.split(rb'[\r\n\t,;"]+', sample)
    return b"\n".join(dict.fromkeys(cell for cell in cells if not cell.isascii()))[: 1 << 18]


def _plausible(text: str) -> float:
    """Return from 0 to 1 how far a reading looks like text."""
    others = [character for character in text if character > "\x7f"]
    letters = [character for character in others if unicodedata.category(character)[0] in "LM"]
    if not others:
        return 0.0
    wrong = sum(c not in _SIGNS and unicodedata.category(c)[0] not in "LM" for c in others)
    wrong += sum(
        (b > "\x7f" and not b.isalpha() and b not in _INSIDE and a.isalpha() and c.isalpha())
        or (b in "\xa1\xbf" and a.isalnum())
        or (a.islower() and b.isupper() and (a > "\x7f" or b > "\x7f"))
        for a, b, c in zip(text, text[1:], text[2:] + " ", strict=False)
    )
    clean = max(0.0, 1 - 2 * wrong / len(others))
    return clean * clean * _coverage(letters)


def _coverage(letters: Iterable[str]) -> float:
    """Return the share of letters that are of one language, where these are Latin."""
    lower = [letter.lower()[:1] for letter in letters]
    latin = [letter for letter in lower if unicodedata.name(letter, "").startswith("LATIN")]
    if 2 * len(latin) <= len(lower):
        scripts = [unicodedata.name(letter, "").partition(" ")[0] for letter in lower]
        return max(scripts.count(script) for script in set(scripts)) / len(scripts) if lower else 1
    alone = max(sum(letter in alphabet for letter in latin) for alphabet in _ALPHABETS)
    together = sum(any(letter in alphabet for alphabet in _ALPHABETS) for letter in latin)
    return max(alone, 0.8 * together) / len(lower)


def _words(reading: _Reading, others: Iterable[_Reading]) -> str:
    """Return some words of a reading that look otherwise in others."""
    cells = _differing(reading, others) or reading.text.split("\n")
    return ", ".join(repr(cell)[:40] for cell in cells[:_SHOWN])


def _differing(reading: _Reading, others: Iterable[_Reading]) -> list[str]:
    texts = [other.text.split("\n") for other in others]
    return [
        cell
        for cell, *same in zip(reading.text.split("\n"), *texts, strict=False)
        if len({cell, *same}) > 1
    ]
