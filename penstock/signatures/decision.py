"""The gate's decision, and the policy that it was made on, stated of signed files (in-toto)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.common import files
from penstock.errors import InputError, PenstockError, UntrustedError
from penstock.records.decision import Decision
from penstock.signatures.bundle import Signed, sign_statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PREDICATE_TYPE = "urn:penstock:decision:2"
"""The predicate has `decision` and `policy`, as `decision.json` and `policy.json` of the evidence
have them. The first form had no policy, so that nobody could see whose approval it asks for."""


_AGAIN = "If it was signed by an older release, sign it again: penstock sign models:/NAME/VERSION."


def sign_decision(
    decision: Decision,
    *,
    policy: Mapping[str, Any] | None,
    key: EllipticCurvePrivateKey,
    name: str,
    sha256: str,
) -> str:
    """Return a bundle that states what was decided about signed files.

    Args:
        decision: The decision.
        policy: What it was made on, as it is recorded; None: it names none.
        key: The private key.
        name: The registered model.
        sha256: What the signature on the files has as their digest.

    Raises:
        InputError: If the policy is not the one that the decision names.
    """
    if _digest(policy) != decision.policy:
        raise InputError(
            f"the decision was made on policy {decision.policy}, and "
            f"{'another' if policy else 'none'} is to be signed with it",
            where="policy",
            remedy="Hand over the policy that the decide step was given.",
        )
    return sign_statement(
        key,
        name=name,
        sha256=sha256,
        predicate_type=PREDICATE_TYPE,
        predicate={"decision": decision.payload(), "policy": policy},
    )


def require_approval(
    signed: Signed, *, sha256: str, model: str, what: str
) -> tuple[Decision, Mapping[str, Any]]:
    """Return decision and policy of a statement, if it approves the files that were signed.

    Args:
        signed: The statement, of which the signature holds.
        sha256: What the signature on the files has as their digest.
        model: Penstock's digest of the model, `sha256:...`.
        what: What the files are, for errors: `version 3`.

    Raises:
        UntrustedError: If the statement is of another kind or about other files, or the decision
            is about another model or no approval, or was made on another policy.
    """
    statement = signed.statement
    if statement.predicate_type != PREDICATE_TYPE:
        raise _refused(
            signed,
            f"it states {statement.predicate_type:.80}, not {PREDICATE_TYPE}",
            what=what,
            remedy=_AGAIN,
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
    policy = statement.predicate.get("policy")
    if not isinstance(policy, dict | None) or _digest(policy) != decision.policy:
        raise _refused(
            signed, f"it was made on policy {decision.policy}, another is stated", what=what
        )
    return decision, policy or {}


def _digest(policy: Mapping[str, Any] | None) -> str:
    return "" if policy is None else files.digest_of_text(files.canonical_json(policy))


def _refused(
    signed: Signed,
    why: str,
    *,
    what: str,
    remedy: str = "Serve a version that was approved; see penstock verify.",
) -> UntrustedError:
    return UntrustedError(
        f"the decision that key {signed.by} signed does not let {what} be served: {why}",
        where=str(signed.file),
        remedy=remedy,
    )
