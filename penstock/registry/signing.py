"""Signatures with an elliptic-curve key, without a network: on evidence, and on a version's files.

Folders are signed by OpenSSF model-signing. What serves a model checks it without that library:
`penstock.signatures`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from penstock.common import files
from penstock.errors import InputError, IntegrityError
from penstock.records import signatures
from penstock.records.decision import Decision
from penstock.registry.signing_key import SIGNING_KEY, path_of_key, private_key
from penstock.signatures.bundle import subject_of
from penstock.signatures.decision import sign_decision
from penstock.signatures.keys import identity_of

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
    key = path_of_key()
    if key:
        _sign(folder, output=output, key=key)
    return bool(key)


def sign_model(
    folder: Path, *, decision: Decision, policy: Mapping[str, Any] | None, name: str
) -> str:
    """Sign a model's files and the decision about them with the configured key.

    Both signatures are written into the folder, over any that were there.

    Args:
        folder: The model's folder, as it is to be served.
        decision: What approves it.
        policy: What the decision was made on, as it is recorded; None: it names none.
        name: The registered model.

    Returns:
        The id of the key; empty: none is configured, and nothing was written.

    Raises:
        InputError: If a key is configured and cannot be used, or the policy is another one.
    """
    key = path_of_key()
    if not key:
        return ""
    private = private_key()
    place = folder / signatures.MODEL
    place.parent.mkdir(exist_ok=True)
    _sign(folder, output=place, key=key, without=signatures.FILES)
    stated = sign_decision(
        decision, policy=policy, key=private, name=name, sha256=subject_of(place)
    )
    files.write_text(folder / signatures.DECISION, stated)
    return identity_of(private.public_key())


def _sign(folder: Path, *, output: Path, key: str, without: Collection[str] = ()) -> None:
    from model_signing import hashing, signing

    config = signing.Config()
    if without:
        # A file that Git would pass over is a file of the model all the same.
        config = config.set_hashing_config(
            hashing.Config().set_ignored_paths(paths=sorted(without), ignore_git_paths=False)
        )
    try:
        config.use_elliptic_key_signer(private_key=key).sign(folder, output)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"it cannot be signed with: {error}",
            where=f"{key}, named by {SIGNING_KEY}",
            remedy="Name an unencrypted private key on an elliptic curve, in PEM.",
        ) from error


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
