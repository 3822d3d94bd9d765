"""What OpenSSF model-signing states of a folder: each file with its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from penstock.common import files
from penstock.errors import InputError, UntrustedError
from penstock.records import signatures
from penstock.records.base import explain
from penstock.signatures.bundle import Signed

PREDICATE_TYPE = "https://model_signing/signature/v1.0"

_SHOWN = 3


class _Serialization(BaseModel):
    method: Literal["files"]
    hash_type: Literal["sha256"] = "sha256"


class _Resource(BaseModel):
    name: str
    algorithm: Literal["sha256"]
    digest: str


class _Predicate(BaseModel):
    serialization: _Serialization
    resources: list[_Resource]


def require_files(folder: Path, *, signed: Signed, what: str) -> str:
    """Return the digest that a signature gives a folder, if its files are those that were signed.

    Args:
        folder: The model's folder. Every file in it counts but the signatures themselves.
        signed: The statement, of which the signature holds.
        what: What the folder is, for errors: `version 3`.

    Returns:
        SHA-256 in hex over the digests of the files, as the statement's subject has it.

    Raises:
        UntrustedError: If a file was altered, added or removed, or the statement is of another
            kind.
    """
    stated = _stated(signed)
    found = _found(folder, what=what)
    differing = {
        "altered": sorted(n for n in stated.keys() & found if stated[n] != found[n]),
        "added": sorted(found.keys() - stated),
        "missing": sorted(stated.keys() - found),
    }
    words = [f"{kind}: {_listed(names)}" for kind, names in differing.items() if names]
    if words:
        raise UntrustedError(
            f"{what} is not what key {signed.by} signed; {'; '.join(words)}",
            where=str(folder),
            remedy="Its files were changed after they were signed: release it again, or restore "
            "them.",
        )
    return signed.statement.sha256


def _stated(signed: Signed) -> Mapping[str, str]:
    statement = signed.statement
    if statement.predicate_type != PREDICATE_TYPE:
        raise _other(signed, f"it states {statement.predicate_type:.80}, not {PREDICATE_TYPE}")
    try:
        predicate = _Predicate.model_validate(statement.predicate)
        digests = [bytes.fromhex(each.digest) for each in predicate.resources]
    except ValidationError as error:
        raise _other(signed, f"{explain(error):.160}") from error
    except ValueError as error:
        raise _other(signed, f"a digest is not hex: {error}") from error
    names = {each.name: each.digest.lower() for each in predicate.resources}
    if len(names) != len(digests):
        raise _other(signed, "it names a file twice")
    root = hashlib.sha256(b"".join(digests)).hexdigest()
    if root != statement.sha256:
        raise _other(signed, f"its files give {root}, its subject is {statement.sha256 or 'none'}")
    return names


def _found(folder: Path, *, what: str) -> dict[str, str]:
    try:
        digests = files.digests_of_folder(folder, without=signatures.FILES)
    except InputError as error:
        raise UntrustedError(error.what, where=error.where, remedy=error.remedy) from error
    except OSError as error:
        raise UntrustedError(
            f"a file of {what} cannot be read: {error.strerror}",
            where=str(error.filename or folder),
            remedy="Let the user that the server runs as read all of them.",
        ) from error
    return {name: digest.removeprefix("sha256:") for name, digest in digests.items()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = [name if name.isprintable() else repr(name) for name in names[:_SHOWN]]
    return ", ".join(shown) + more


def _other(signed: Signed, why: str) -> UntrustedError:
    return UntrustedError(
        f"what key {signed.by} signed is no manifest of a model's files: {why}",
        where=str(signed.file),
        remedy="Sign the version again (penstock sign).",
    )
