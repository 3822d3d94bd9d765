"""A signed in-toto statement in a Sigstore bundle, as OpenSSF model-signing writes one.

The statement is the payload of a DSSE envelope, of which the signature is ECDSA over the
pre-authentication encoding of https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md.
The bundle names the key by its id (`publicKey.hint`). Neither certificates nor a log are used.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from penstock.errors import UntrustedError
from penstock.records.base import explain
from penstock.signatures.keys import KeyRing, PublicKey, identity_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

_LARGEST = 64 << 20
_REMEDY = "It was altered, or is of another kind: sign the version again (penstock sign)."


class Subject(BaseModel):
    """What a statement is about, by its digests."""

    name: str = ""
    digest: dict[str, str]


class Statement(BaseModel):
    """An in-toto statement, version 1."""

    kind: str = Field(alias="_type")
    subject: list[Subject] = Field(min_length=1, max_length=1)
    predicate_type: str = Field(alias="predicateType")
    predicate: dict[str, Any]

    @property
    def sha256(self) -> str:
        """The digest of its one subject, hex; empty: it has none of this kind."""
        return self.subject[0].digest.get("sha256", "")


@dataclass(frozen=True)
class Signed:
    """A statement whose signature holds.

    Attributes:
        statement: What is stated.
        by: The key that it is signed by.
        file: Where it is.
    """

    statement: Statement
    by: PublicKey
    file: Path


class _Signature(BaseModel):
    sig: bytes


class _Envelope(BaseModel):
    payload: bytes
    payload_type: str = Field(alias="payloadType")
    signatures: list[_Signature] = Field(min_length=1, max_length=1)


class _Key(BaseModel):
    # It is quoted in messages.
    hint: str = Field(pattern="^[0-9a-f]{64}$")


class _Material(BaseModel):
    public_key: _Key = Field(alias="publicKey")


class _Bundle(BaseModel):
    media_type: str = Field(alias="mediaType")
    material: _Material = Field(alias="verificationMaterial")
    envelope: _Envelope = Field(alias="dsseEnvelope")


def read_signed(path: Path, *, keys: KeyRing, signed: str) -> Signed:
    """Return the statement of a bundle, if a trusted key has signed it.

    Args:
        path: The bundle.
        keys: The keys.
        signed: What it is of, for errors: `version 3`.

    Raises:
        UntrustedError: If the file cannot be read, is no such bundle, is signed by a key that is
            withdrawn or not trusted, or the signature does not hold.
    """
    bundle = _read(path, signed=signed)
    for found, expected in (
        (bundle.media_type, MEDIA_TYPE),
        (bundle.envelope.payload_type, PAYLOAD_TYPE),
    ):
        if found != expected:
            raise _bad(path, f"the signature on {signed} is {found:.80}, not {expected}")
    key = keys.get(bundle.material.public_key.hint, signed=signed)
    payload = _decoded(bundle.envelope.payload, path=path, signed=signed)
    signature = _decoded(bundle.envelope.signatures[0].sig, path=path, signed=signed)
    if not _holds(key.key, signature=signature, payload=payload):
        raise _bad(path, f"the signature on {signed} by key {key} does not hold")
    try:
        statement = Statement.model_validate_json(payload)
    except ValidationError as error:
        raise _bad(
            path, f"what key {key} signed is no in-toto statement: {_first(error)}"
        ) from error
    if statement.kind != STATEMENT_TYPE:
        raise _bad(path, f"what key {key} signed is {statement.kind:.80}, not {STATEMENT_TYPE}")
    return Signed(statement=statement, by=key, file=path)


def key_of(path: Path) -> str:
    """Return the id of the key that a bundle names, unchecked; empty: there is none to be read."""
    try:
        return _read(path, signed="it").material.public_key.hint
    except UntrustedError:
        return ""


def subject_of(path: Path) -> str:
    """Return the digest that a bundle's statement is about, unchecked: whose key it is may differ.

    Args:
        path: The bundle.

    Raises:
        UntrustedError: If it cannot be read, or holds no statement.
    """
    payload = _decoded(_read(path, signed="it").envelope.payload, path=path, signed="it")
    try:
        return Statement.model_validate_json(payload).sha256
    except ValidationError as error:
        raise _bad(path, f"what was signed is no in-toto statement: {_first(error)}") from error


def sign_statement(
    key: ec.EllipticCurvePrivateKey,
    *,
    name: str,
    sha256: str,
    predicate_type: str,
    predicate: dict[str, Any],
) -> str:
    """Return a bundle with a statement about one subject, signed.

    Args:
        key: The private key.
        name: Of the subject.
        sha256: Its digest, hex.
        predicate_type: URI of the kind of predicate.
        predicate: What is stated, JSON.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": sha256}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    payload = json.dumps(statement, ensure_ascii=False, allow_nan=False).encode()
    signature = key.sign(_encoded(payload), ec.ECDSA(_hash_of(key.public_key())))
    bundle = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": identity_of(key.public_key())},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle) + "\n"


def _read(path: Path, *, signed: str) -> _Bundle:
    try:
        with path.open("rb") as stream:
            return _Bundle.model_validate_json(stream.read(_LARGEST))
    except OSError as error:
        raise _bad(path, f"the signature on {signed} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        why = f"the signature on {signed} is no Sigstore bundle of a key: {_first(error)}"
        raise _bad(path, why) from error


def _decoded(text: bytes, *, path: Path, signed: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise _bad(path, f"the signature on {signed} is not base64: {error}") from error


def _holds(key: ec.EllipticCurvePublicKey, *, signature: bytes, payload: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key.verify(signature, _encoded(payload), ec.ECDSA(_hash_of(key)))
    except InvalidSignature:
        return False
    return True


def _encoded(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding: what is really signed."""
    kind = PAYLOAD_TYPE.encode()
    return b" ".join((b"DSSEv1", b"%d" % len(kind), kind, b"%d" % len(payload), payload))


def _hash_of(key: ec.EllipticCurvePublicKey) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    by_size: dict[int, HashAlgorithm] = {
        256: hashes.SHA256(),
        384: hashes.SHA384(),
        521: hashes.SHA512(),
    }
    return by_size[key.curve.key_size]


def _bad(path: Path, what: str) -> UntrustedError:
    return UntrustedError(what, where=str(path), remedy=_REMEDY)


def _first(error: ValidationError) -> str:
    return f"{explain(error):.160}"
