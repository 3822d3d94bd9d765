"""The public keys that are trusted, and those that are trusted no more: files of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import InputError, UntrustedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

TRUSTED, WITHDRAWN = ".pub", ".withdrawn"
"""How the name of a key's file ends."""

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_KEY_BYTES = 1 << 16


@dataclass(frozen=True)
class PublicKey:
    """A public key of the folder.

    Attributes:
        identity: Its id: SHA-256 of it in PEM, in hex.
        file: Its file.
        key: The key.
    """

    identity: str
    file: Path
    key: EllipticCurvePublicKey

    def __str__(self) -> str:
        return f"{short(self.identity)} ({self.file.name})"


@dataclass(frozen=True)
class KeyRing:
    """Keys by their ids.

    Attributes:
        where: The folder or file that they are from.
        trusted: Those that may have signed.
        withdrawn: Those that may not any more, whatever else the folder holds.
    """

    where: Path
    trusted: Mapping[str, PublicKey]
    withdrawn: Mapping[str, PublicKey]

    def __str__(self) -> str:
        return ", ".join(str(key) for key in self.trusted.values()) or "none"

    def get(self, identity: str, *, signed: str) -> PublicKey:
        """Return the trusted key of that id.

        Args:
            identity: What a signature names as its key.
            signed: What was signed, for the error.

        Raises:
            UntrustedError: If it is withdrawn, or none of these.
        """
        if identity in self.withdrawn:
            raise UntrustedError(
                f"{signed} is signed by key {self.withdrawn[identity]}, which is withdrawn",
                where=str(self.where),
                remedy="Sign it with a key that is trusted (penstock sign), or serve another "
                "version.",
            )
        if identity not in self.trusted:
            raise UntrustedError(
                f"{signed} is signed by key {short(identity)}, which is not trusted "
                f"here; trusted: {self}",
                where=str(self.where),
                remedy=f"If that key is yours, put its public half there as NAME{TRUSTED}; else "
                "find out who signed it.",
            )
        return self.trusted[identity]


def short(identity: str) -> str:
    """Return the first digits of a key's id, as messages have it."""
    return identity[:16]


def read_keys(folder: Path) -> KeyRing:
    """Read the keys that a server trusts.

    Args:
        folder: One file for each key, in PEM: NAME.pub is trusted, NAME.withdrawn is not any more.
            A mounted ConfigMap is such a folder. Names that begin with a dot do not count.

    Raises:
        UntrustedError: If the folder cannot be read, holds anything else, or no key that is
            trusted: nothing is served then.

    Example:
        >>> read_keys(Path("nowhere"))
        Traceback (most recent call last):
        penstock.errors.UntrustedError: nowhere: the folder of trusted keys cannot be read: No ...
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UntrustedError(
            f"the folder of trusted keys cannot be read: {error.strerror}",
            where=str(folder),
            remedy="Put the public keys there, or ask for no signatures. Nothing is served without "
            "them.",
        ) from error
    found: dict[str, dict[str, PublicKey]] = {TRUSTED: {}, WITHDRAWN: {}}
    for path in paths:
        if path.suffix not in found or WITHDRAWN in path.stem:
            # A slip in a name must not make a withdrawn key a trusted one.
            raise UntrustedError(
                f"{path.name} is neither NAME{TRUSTED} nor NAME{WITHDRAWN}",
                where=str(folder),
                remedy="Rename or remove it: nothing else belongs beside trusted keys.",
            )
        key = _public_key(path)
        found[path.suffix][key.identity] = key
    kept = {name: key for name, key in found[TRUSTED].items() if name not in found[WITHDRAWN]}
    if not kept:
        raise UntrustedError(
            "no key there is trusted, so no model can be served",
            where=str(folder),
            remedy=f"Put a public key there as NAME{TRUSTED}, in PEM.",
        )
    return KeyRing(where=folder, trusted=kept, withdrawn=found[WITHDRAWN])


def only_key(path: Path) -> KeyRing:
    """Return one public key as all that is trusted.

    Args:
        path: The key, in PEM.

    Raises:
        UntrustedError: If it cannot be read, or is no such key.
    """
    key = _public_key(path)
    return KeyRing(where=path, trusted={key.identity: key}, withdrawn={})


def _public_key(path: Path) -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        with path.open("rb") as stream:
            text = stream.read(_KEY_BYTES)
        key = load_pem_public_key(text)
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(path, str(error)) from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise _unusable(path, "not a key on P-256, P-384 or P-521")
    if text.count(b"-----BEGIN ") > 1 or len(text) == _KEY_BYTES:
        # Only the first is read: another one would go on being trusted, or not be withdrawn.
        raise _unusable(path, "it holds more than one key; each has a file of its own")
    return PublicKey(identity=identity_of(key), file=path, key=key)


def _unusable(path: Path, why: str) -> UntrustedError:
    return UntrustedError(
        f"no public key that a signature can be checked with: {why:.200}",
        where=str(path),
        remedy="Put a public key on an elliptic curve there, in PEM; docs/signatures.md shows how "
        "one is made.",
    )


def read_private_key(path: Path, *, named_by: str) -> EllipticCurvePrivateKey:
    """Read the private key that signs.

    Args:
        path: Unencrypted, on P-256, P-384 or P-521, in PEM.
        named_by: What names the file, for the error.

    Raises:
        InputError: If it is not that, or cannot be read.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    where = f"{path}, named by {named_by}"
    remedy = "Name an unencrypted private key on an elliptic curve, in PEM."
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"nothing can be signed with it: {error!s:.200}", where=where, remedy=remedy
        ) from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise InputError("not a key on P-256, P-384 or P-521", where=where, remedy=remedy)
    return key


def identity_of(key: EllipticCurvePublicKey) -> str:
    """Return a key's id, as model-signing writes it into a signature: SHA-256 of its PEM, hex."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()
