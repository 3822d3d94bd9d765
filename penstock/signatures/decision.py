"""The gate's decision as an in-toto statement about the files that were signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.errors import PenstockError, UntrustedError
from penstock.records.decision import Decision
from penstock.signatures.bundle import Signed, sign_statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PREDICATE_TYPE = "urn:penstock:decision:1"
"""The predicate has one field, `decision`: the record as `decision.json` of the evidence has it."""


def sign_decision(
    decision: Decision, *, key: EllipticCurvePrivateKey, name: str, sha256: str
) -> str:
    """Return a bundle that states what was decided about signed files.

    Args:
        decision: The decision.
        key: The private key.
        name: The registered model.
        sha256: What the signature on the files has as their digest.
    """
    return sign_statement(
        key,
        name=name,
        sha256=sha256,
        predicate_type=PREDICATE_TYPE,
        predicate={"decision": decision.payload()},
    )


def require_approval(signed: Signed, *, sha256: str, model: str, what: str) -> Decision:
    """Return the decision that a statement holds, if it approves the files that were signed.

    Args:
        signed: The statement, of which the signature holds.
        sha256: What the signature on the files has as their digest.
        model: Penstock's digest of the model, `sha256:...`.
        what: What the files are, for errors: `version 3`.

    Raises:
        UntrustedError: If the statement is of another kind or about other files, or the decision
            is about another model or no approval.
    """
    statement = signed.statement
    if statement.predicate_type != PREDICATE_TYPE:
        raise _refused(
            signed, f"it states {statement.predicate_type:.80}, no decision of Penstock", what=what
        )
    if statement.sha256 != sha256:
        raise _refused(
            signed,
            f"it is about {statement.sha256 or 'nothing'}, the signed files are {sha256}",
            what=what,
        )
    try:
        decision = Decision.parse(statement.predicate.get("decision"), where=str(signed.file))
        decision.require_approval_of(model)
    except PenstockError as error:
        raise _refused(signed, error.what.rstrip("."), what=what) from error
    return decision


def _refused(signed: Signed, why: str, *, what: str) -> UntrustedError:
    return UntrustedError(
        f"the decision that key {signed.by} signed does not let {what} be served: {why}",
        where=str(signed.file),
        remedy="Serve a version that was approved; see penstock verify.",
    )
