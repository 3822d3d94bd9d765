"""What is secret in a text by its form: a password in an address, a token in a query, a webhook."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SHOWN = "***"
"""What stands in place of a secret."""

REFERENCE = re.compile(r"\$\{(?P<kind>env|file|secret):(?P<name>[^${}]*)\}")
"""A reference to a secret, which is none itself: `${env:NAME}`."""


WEBHOOK = "the path of a webhook"
"""What a form may find."""


@dataclass(frozen=True)
class Found:
    """A secret in a text.

    Args:
        start: Where it begins.
        end: Where it ends.
        what: What it is, for people; empty: a user's name, which is hidden and is no secret.
        hidden: Where what is not shown begins: before a password stands a user.
    """

    start: int
    end: int
    what: str
    hidden: int


_CHARACTER = r"[^\s\"'<>|\\^`]"
_TOKEN = re.compile(rf"{_CHARACTER}*")
_REFERRED = "\0"
"""What each character of a reference is for the time of a search: part of a word, and no secret."""

_SCHEME = re.compile(r"(?<![a-z0-9+.-])(?P<scheme>[a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_DATABASES = (
    "postgres", "postgresql", "mysql", "mariadb", "oracle", "mssql", "mongodb", "redis", "rediss",
    "snowflake", "clickhouse", "trino", "presto", "databricks", "redshift", "cockroachdb",
)  # fmt: skip
"""Schemes of which a password may hold a slash, and so look like a port and a path."""

_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")
"""Schemes in which a container's name stands before the @."""

_PORT = re.compile(rf"\d{{1,5}}(?![\w-])|port\b|[{{<$%*]|{_REFERRED}+(?:[/?#,]|$)", re.IGNORECASE)
"""What follows a colon and is no password: a port, or what stands for one in a text."""

_QUERY = re.compile(r"[?&;](?P<name>[\w.-]+)=(?P<secret>[^&;\s'\"<>#]+)")
_SECRET_NAME = re.compile(
    r"passw|passphrase|pwd|token|secret|signature|credential|odbc_connect|authori[sz]ation"
    r"|(?:api|access|account|private)[-_]?key|(?:^|[-_.])(?:sig|key|auth|code|sas|pass)$",
    re.IGNORECASE,
)
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"(?<![\w.?&-])(?:\w+[-_])?(?:password|passwd|passphrase|pwd|(?:api|account|secret)_?key|"
            r"(?:secret_)?access_?key(?:_id)?|shared_?access_?(?:key|signature)|client_?secret|"
            r"(?:access|auth|session|refresh)_?token)(?:['\"]?\s*[=:]\s*"
            r"(?:'(?P<one>[^']+)'|\"(?P<two>[^\"]+)\")|\s*=\s*(?P<three>[^\s;,&'\"]+))",
            re.IGNORECASE,
        ),
        "a password or key",
    ),
    (
        re.compile(
            r"\bauthorization['\"]?\s*[:=]\s*['\"]?(?:(?:bearer|basic|token)\s+)?"
            r"(?P<one>(?!(?:bearer|basic|token)\b)[\w.~+/=-]{4,})|\bbearer\s+(?P<two>(?=\S*\d)[\w.~+/=-]{16,})",
            re.IGNORECASE,
        ),
        "a token",
    ),
    (
        re.compile(
            r"\b(?P<one>gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}"
            r"|hf_[A-Za-z0-9]{20,}|A[KS]IA[0-9A-Z]{16}|dapi[0-9a-f]{32}"
            r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
            r"|(?P<two>-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*KEY-----|\Z))",
            re.DOTALL,
        ),
        "a token or key",
    ),
    (
        re.compile(
            r"https?://(?:hooks\.slack(?:-gov)?\.com|(?:[\w-]+\.)?discord(?:app)?\.com/api/webhooks"
            r"|[\w.-]+\.webhook\.office\.com|outlook\.office\.com/webhook|api\.telegram\.org"
            rf"|hooks\.zapier\.com)/(?P<one>{_CHARACTER}+)",
            re.IGNORECASE,
        ),
        WEBHOOK,
    ),
    (re.compile(rf"%3a%2f%2f(?P<one>(?:(?!%40|&){_CHARACTER})+)%40", re.IGNORECASE), "a password"),
)


def is_secret_name(name: str) -> bool:
    """Return whether a setting or parameter of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))


def in_text(text: str, *, whole: bool = False) -> list[Found]:
    """Return the secrets that a text shows by their form; references are none.

    Args:
        text: A message, or an address.
        whole: The text is one address, so that a password may hold a space or a quotation mark.
    """
    text = REFERENCE.sub(lambda found: _REFERRED * len(found[0]), text)
    return sorted(
        (
            found
            for found in _all(text, whole=whole)
            # Neither a reference nor what hides a secret.
            if text[found.start : found.end].strip(f"{_REFERRED}*:")
        ),
        key=lambda found: (found.hidden, -found.end),
    )


def _all(text: str, *, whole: bool) -> Iterator[Found]:
    if "://" in text:
        yield from _users(text, whole=whole)
    for match in _QUERY.finditer(text):
        if is_secret_name(match["name"]):
            start, end = match.span("secret")
            yield Found(start, end, f"the secret {match['name']}", start)
    for pattern, what in _FORMS:
        for match in pattern.finditer(text):
            group = match.lastgroup or 0
            yield Found(*match.span(group), what, match.start(group))


def _users(text: str, *, whole: bool) -> Iterator[Found]:
    for match in _SCHEME.finditer(text):
        scheme, start = match["scheme"].lower(), match.end()
        token = _TOKEN.match(text, start)
        rest = text[start:] if whole else token[0] if token else ""
        size = _user(scheme, rest)
        cut = size is None and not whole and _is_cut(rest)
        if cut:
            size = len(rest)
        if size is None:
            continue
        user, colon, _ = rest[:size].partition(":")
        if colon:
            yield Found(start + len(user) + 1, start + size, "a password", start)
        elif not _is_plain(scheme, user):
            web = scheme.rpartition("+")[2] in ("http", "https")
            yield Found(start, start + size, "a token" if web else "", start)


def _is_plain(scheme: str, user: str) -> bool:
    """Return whether what stands before the @ is a container's name, or Git's user of everybody."""
    kinds = scheme.split("+")
    return any(kind in _CONTAINERS for kind in kinds) or (kinds[-1] == "ssh" and user == "git")


def _user(scheme: str, rest: str) -> int | None:
    """Return how many characters user and password take at the start of an address, without @."""
    if rest.startswith("["):
        return None
    before = re.split(r"[/?#]", rest, maxsplit=1)[0]
    name, colon, after = rest.partition(":")
    password = bool(colon) and not re.search(r"[/?#@]", name)
    if scheme.partition("+")[0] in _DATABASES and password:
        path = rest.partition("?")[0]
        if "@" in path:
            return path.rindex("@")
        return rest.index("@") if "@" in rest and not _PORT.match(after) else None
    if "@" in before:
        return before.rindex("@")
    if password and "@" in after and not _PORT.match(after):
        return rest.rindex("@")
    return None


def _is_cut(rest: str) -> bool:
    """Return whether an address ends before its @: what follows the colon is no port."""
    name, colon, after = rest.partition(":")
    # A name that begins with a slash is no user: file:///C:/data.
    plain = bool(re.fullmatch(r"[^/?#@\[\]]+", name))
    return bool(colon and after and plain) and not _PORT.match(after)
