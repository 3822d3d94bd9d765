"""The check before a model is loaded: signed by a trusted key, unaltered, decided, approved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.errors import UntrustedError
from penstock.records import signatures
from penstock.signatures.approvals import asked_of, require_people
from penstock.signatures.bundle import Signed, read_signed
from penstock.signatures.decision import require_approval
from penstock.signatures.keys import KeyRing
from penstock.signatures.manifest import require_files


@dataclass(frozen=True)
class Vouched:
    """Who vouches for a model.

    Attributes:
        files: The key that signed its files.
        decision: The key that signed the decision.
        people: Who approved, where the policy asks for people.
    """

    files: str
    decision: str
    people: tuple[str, ...] = ()


def require_vouched(folder: Path, *, keys: KeyRing, model: str, what: str) -> Vouched:
    """Return only if a model may be loaded from a folder.

    Args:
        folder: The model's folder, with `signatures/` in it.
        keys: Those that are trusted.
        model: The digest that the model must have, `sha256:...`.
        what: What it is, for errors: `version 3 of loans`.

    Raises:
        UntrustedError: If the model is not signed, altered, or signed by another key; or no signed
            decision approves these very files; or its policy asks for people's approvals, and those
            are not signed.

    Example:
        >>> keys = KeyRing(where=Path("keys"), trusted={}, withdrawn={})
        >>> require_vouched(Path("model"), keys=keys, model="sha256:aa", what="version 3 of loans")
        Traceback (most recent call last):
        penstock.errors.UntrustedError: model/signatures/model.sig: version 3 of loans is not ...
    """
    signed = _signed(folder, signatures.MODEL, keys=keys, what=what, lacks="is not signed")
    sha256 = require_files(folder, signed=signed, what=what)
    decided = _signed(
        folder, signatures.DECISION, keys=keys, what=what, lacks="has no signed decision"
    )
    decision, policy = require_approval(decided, sha256=sha256, model=model, what=what)
    by: tuple[str, ...] = ()
    if people := asked_of(policy, signed=decided, what=what):
        lacks = f"needs the approval of {people} by its policy, and has no signed approvals"
        approved = _signed(folder, signatures.APPROVALS, keys=keys, what=what, lacks=lacks)
        by = require_people(approved, sha256=sha256, decision=decision, policy=policy, what=what)
    return Vouched(files=str(signed.by), decision=str(decided.by), people=by)


def _signed(folder: Path, name: str, *, keys: KeyRing, what: str, lacks: str) -> Signed:
    path = folder / name
    # Whatever else is there could be read without end.
    if not path.is_file():
        raise UntrustedError(
            f"{what} {lacks}, and only what is signed by key {keys} is served here",
            where=str(path),
            remedy="Sign it where the private key is: penstock sign models:/NAME/VERSION.",
        )
    return read_signed(path, keys=keys, signed=what)
