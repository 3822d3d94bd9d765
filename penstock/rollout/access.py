"""What a gateway asks of whoever sends requests through it, and how its certificate is checked."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import Field

from penstock.common.secrets import references, resolve
from penstock.errors import InputError, ServiceError
from penstock.records.spec import Spec
from penstock.redaction import keep

_FIELD = "deployment.kserve.access.token"

UNKNOWN = 401
"""What a gateway answers to whom it does not know: no token, or one that has ended."""

REFUSED = (UNKNOWN, 403)
"""What it answers to whom it does not let in."""

_REMEDY = (
    f"Name one that it takes in {_FIELD}, for example ${{secret:penstock-endpoint/token}}; "
    "docs/endpoint-access.md says how."
)


class AccessSpec(Spec):
    """How a rollout's own requests get in at the gateway."""

    token: str = Field(
        default="",
        description="Token that each request shows as `authorization: Bearer TOKEN`, by reference; "
        "one in a file is read anew each time. Empty: none",
    )
    ca_file: str = Field(
        default="",
        description="Certificates (PEM) to check the gateway's own against; empty: the system's",
    )


def headers_of(access: AccessSpec) -> dict[str, str]:
    """Return the headers by which a request gets in; none where no token is named.

    Args:
        access: Its token is looked up now, because one that a file holds is replaced in time.

    Raises:
        InputError: If the token is not to be found, or cannot be in a header.

    Example:
        >>> headers_of(AccessSpec())
        {}
    """
    if not access.token:
        return {}
    token = resolve(access.token, where=_FIELD).strip()
    # A gateway may quote it in its answer, which goes into messages.
    keep(token)
    if not token.isascii() or not token.isprintable():
        raise InputError(
            "the token holds characters that no header can carry",
            where=_FIELD,
            remedy="Write it in one line of ASCII.",
        )
    return {"authorization": f"Bearer {token}"}


def is_open(url: str) -> bool:
    """Return whether what is sent to an address goes in clear, so that no certificate is shown.

    Example:
        >>> is_open("http://models"), is_open("HTTPS://models")
        (True, False)
    """
    return urlsplit(url).scheme == "http"


def trusted(ca_file: str) -> ssl.SSLContext:
    """Return what a gateway's certificate is checked by.

    Args:
        ca_file: Certificates (PEM); empty: the system's.

    Raises:
        InputError: If the file cannot be read, or holds none.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one.
        raise InputError(
            f"the certificates cannot be read: {error.strerror or error}",
            where=f"deployment.kserve.access.ca_file: {ca_file}",
            remedy="Name a file of certificates in PEM form; a step's comes from cluster.secrets.",
        ) from error


def refused(status: int, *, where: str, token: bool) -> ServiceError:
    """Return the error for a gateway that does not let a request in.

    Args:
        status: What it answered.
        where: Its address.
        token: Whether the request showed a token.
    """
    what = "does not take the token" if token else "asks for a token, and none is named"
    return ServiceError(f"the gateway {what} ({status})", where=where, remedy=_REMEDY)


def curl_options(access: AccessSpec) -> str:
    """Return the options by which curl gets in, with the token by name and never in clear.

    Example:
        >>> curl_options(AccessSpec(token="${env:TOKEN}"))
        '-H "authorization: Bearer $TOKEN" '
    """
    options = f"--cacert {access.ca_file} " if access.ca_file else ""
    if not access.token:
        return options
    (first, *_) = references(access.token, where=_FIELD)
    shown = f"${first.variable}" if first.variable else f"$(cat {first.name})"
    return f'{options}-H "authorization: Bearer {shown}" '


def with_access(headers: Mapping[str, str], access: AccessSpec) -> dict[str, str]:
    """Return a request's headers with those that let it in."""
    return {**headers, **headers_of(access)}
