"""When two names are one person's.

For a permission they must be the same. To count as two people they must differ in more than what a
reader does not see, and in more than how a platform writes one name.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable

from penstock.errors import InputError

NAME_LENGTH = 200

_NOBODY = re.compile(r"uid \d+|unknown")
"""What stands for a name where there is none: ours, and MLflow's for the user of a run."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what shows nothing, or nothing certain."""

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Letters and marks that show nothing either: Default_Ignorable_Code_Point of Unicode's
DerivedCoreProperties.txt as far as `_HIDDEN` has them not, and the empty Braille pattern."""

_PREFIX = re.compile(r".*[:\\/]")


def unnamed(uid: int) -> str:
    """Return what a user is called whom the operating system has no name for."""
    return f"uid {uid}"


def is_known(name: str) -> bool:
    """Return whether a name says who somebody is: the number of a user does not."""
    return bool(name.strip()) and not _NOBODY.fullmatch(name.strip())


def check_name(name: str, *, where: str) -> str:
    """Return a name without spaces around it, if a reader sees all of it.

    Raises:
        InputError: If it is empty, too long, or holds characters that show nothing.
    """
    text = name.strip(" ")
    hidden = [char for char in text if _is_hidden(char)]
    if hidden:
        raise InputError(
            f"the name {text!a} holds characters that nobody sees: "
            f"{', '.join(f'U+{ord(char):04X}' for char in hidden[:5])}",
            where=where,
            remedy="Two people could have the same one: use the name without them.",
        )
    if not 0 < len(text) <= NAME_LENGTH:
        raise InputError(
            f"a name has 1 to {NAME_LENGTH} characters, this has {len(text)}", where=where
        )
    return text


def key_of(name: str) -> str:
    """Return what is equal for two names that are one and the same, as for a permission.

    Case and Unicode's canonical forms (NFC) make no difference, and nothing else does not.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name.strip()).casefold())


def may_be_one(name: str, other: str) -> bool:
    """Return whether two names may be one person's, as where two people are required.

    They may if they look alike (Unicode Technical Standard 39, section 4: their skeletons are
    equal, whatever the case), or if one is the other without its domain or prefix: `ann`,
    `ann@example.com` and `oidc:ann@example.com`.

    Example:
        >>> may_be_one("ann", "\N{CYRILLIC SMALL LETTER A}nn"), may_be_one("ann", "ann@example.com")
        (True, True)
        >>> may_be_one("ann@example.com", "ann@example.org")
        False
    """
    return any(
        bool(_looks(one) & _looks(form))
        for one, longer in ((name, other), (other, name))
        for form in _forms(longer)
    )


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Return of each person one name: as many as certainly are different people."""
    found: list[str] = []
    for name in sorted(set(names), key=lambda name: (-len(name), name)):
        if not any(may_be_one(name, other) for other in found):
            found.append(name)
    return tuple(sorted(found))


def _is_hidden(char: str) -> bool:
    category = unicodedata.category(char)
    return category in _HIDDEN or (category == "Zs" and char != " ") or bool(_BLANK.fullmatch(char))


def _forms(name: str) -> tuple[str, ...]:
    short = _PREFIX.sub("", name.strip())
    return tuple(form for form in (name, short, short.partition("@")[0]) if form.strip())


@functools.lru_cache(maxsize=1000)
def _looks(name: str) -> frozenset[str]:
    """Return the skeletons of a name in small and in capital letters.

    Some letters look alike in one of the two alone, as the Cyrillic and the Latin em in capitals.
    """
    text = unicodedata.normalize("NFKC", name)
    seen = "".join(char for char in text if char == " " or not _is_hidden(char))
    plain = " ".join(seen.split())
    return frozenset((_skeleton(plain.casefold()), _skeleton(plain.upper()).casefold()))


def _skeleton(text: str) -> str:
    prototypes = _prototypes()
    for _ in range(3):
        before = text
        decomposed = unicodedata.normalize("NFD", text)
        text = "".join(prototypes.get(char, char) for char in decomposed)
        if text == before:
            break
    return unicodedata.normalize("NFD", text)


@functools.cache
def _prototypes() -> dict[str, str]:
    """Return what each character that looks like others stands for, one for all that do.

    From Unicode's confusables.txt, which the library gives as pairs in both directions.
    """
    from confusable_homoglyphs.confusables import confusables_data

    alike: dict[str, set[str]] = {}
    for char, others in confusables_data.items():
        group = {_seen(char), *(_seen(other["c"]) for other in others)}
        for one in list(group):
            group |= alike.get(one, set())
        for one in group:
            alike[one] = group
    # A sequence stands for the character that looks like it, as `rn` for `m`.
    return {
        char: min(group, key=lambda one: (-len(one), one))
        for char, group in alike.items()
        if len(char) == 1
    }


def _seen(text: str) -> str:
    return "".join(char for char in text if unicodedata.category(char) != "Cf")
