"""Pairs of keys to sign with, as openssl writes them."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

_CURVES = {"secp256r1": ec.SECP256R1, "secp384r1": ec.SECP384R1, "secp521r1": ec.SECP521R1}


def write_keypair(folder: Path, name: str, *, curve: str = "secp256r1") -> tuple[Path, Path]:
    """Write a private and a public key by a name, PEM, and return both files."""
    private = ec.generate_private_key(_CURVES[curve]())
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    paths = folder / f"{name}.pem", folder / f"{name}.pub"
    paths[0].write_bytes(
        private.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, none)
    )
    public = private.public_key()
    paths[1].write_bytes(public.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return paths
