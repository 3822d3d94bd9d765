"""The private key that the environment names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.signatures.keys import read_private_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

SIGNING_KEY = "PENSTOCK_SIGNING_KEY"
"""Environment variable: path of the private key, PEM. Where it is not set nothing is signed."""


def path_of_key() -> str:
    """Return where the private key is; empty: none is configured.

    Example:
        >>> path_of_key() == os.environ.get("PENSTOCK_SIGNING_KEY", "")
        True
    """
    return os.environ.get(SIGNING_KEY, "")


def private_key() -> EllipticCurvePrivateKey:
    """Return the private key that is configured.

    Raises:
        InputError: If it cannot be used.
    """
    return read_private_key(Path(path_of_key()), named_by=SIGNING_KEY)
