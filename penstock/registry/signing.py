"""Signatures on evidence: OpenSSF model-signing with an elliptic-curve key, without a network."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.errors import InputError, IntegrityError

SIGNING_KEY = "PENSTOCK_SIGNING_KEY"
"""Environment variable: path of the private key, PEM. Where it is not set nothing is signed."""

VERIFY_KEY = "PENSTOCK_VERIFY_KEY"
"""Environment variable: path of the public key, PEM."""


def sign(folder: Path, *, output: Path) -> bool:
    """Sign a folder with the configured key; return whether one is configured.

    Args:
        folder: Every file in it is signed, by name and digest.
        output: Where to write the signature, a Sigstore bundle; outside of `folder`.

    Raises:
        InputError: If a key is configured and cannot be used.
    """
    key = os.environ.get(SIGNING_KEY, "")
    if not key:
        return False
    from model_signing import signing

    try:
        signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, output)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"the evidence cannot be signed with it: {error}",
            where=f"{key}, named by {SIGNING_KEY}",
            remedy="Name an unencrypted private key on an elliptic curve, in PEM.",
        ) from error
    return True


def verify(folder: Path, *, signature: Path, key: Path) -> None:
    """Return only if the signature is of this folder, by the holder of the key.

    Args:
        folder: What was signed.
        signature: What `sign` wrote.
        key: The public key, PEM.

    Raises:
        InputError: If the key cannot be read.
        IntegrityError: If the signature is not of this folder as it is, or not by that key.
    """
    from model_signing import verifying

    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"the verification key cannot be read: {error}",
            where=str(key),
            remedy="Name a public key on an elliptic curve, in PEM.",
        ) from error
    try:
        config.verify(folder, signature)
    except Exception as error:  # Its libraries raise classes of their own for a bad signature.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise IntegrityError(
            f"the signature does not hold: {reason:.300}", where=str(key)
        ) from error
