"""People's approvals as an in-toto statement about the files that were signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, ValidationError

from penstock.common import people
from penstock.errors import PenstockError, UntrustedError
from penstock.records.approval import Approval
from penstock.records.base import explain
from penstock.records.decision import Decision
from penstock.signatures.bundle import Signed, sign_statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PREDICATE_TYPE = "urn:penstock:approvals:1"
"""The predicate has one field, `approvals`: the records that counted, as the registry has them."""


class _Asked(BaseModel):
    people: int = Field(default=0, ge=0)
    approvers: tuple[str, ...] = ()


def asked_of(policy: Mapping[str, Any], *, signed: Signed, what: str) -> int:
    """Return how many people a policy asks for.

    Args:
        policy: As it is recorded; empty asks for nobody.
        signed: The statement that it is from.
        what: What the files are, for errors: `version 3`.

    Raises:
        UntrustedError: If its section on approvals cannot be read.
    """
    return _asked(policy, signed=signed, what=what).people


def sign_approvals(
    given: Iterable[Approval], *, key: EllipticCurvePrivateKey, name: str, sha256: str
) -> str:
    """Return a bundle that states who approved signed files, when and why.

    Args:
        given: The approvals that counted.
        key: The private key.
        name: The registered model.
        sha256: What the signature on the files has as their digest.
    """
    return sign_statement(
        key,
        name=name,
        sha256=sha256,
        predicate_type=PREDICATE_TYPE,
        predicate={"approvals": [approval.payload() for approval in given]},
    )


def require_people(
    signed: Signed, *, sha256: str, decision: Decision, policy: Mapping[str, Any], what: str
) -> tuple[str, ...]:
    """Return who approved signed files, if they are as many as the policy asks for.

    Whether an approval had expired, two names are one person's, or who trained it is the only one,
    was judged before it was signed: a server that starts again at night asks whether people
    approved, not since when.

    Args:
        signed: The statement, of which the signature holds.
        sha256: What the signature on the files has as their digest.
        decision: The signed decision, on which people looked.
        policy: The signed policy.
        what: What the files are, for errors: `version 3`.

    Raises:
        UntrustedError: If the statement is of another kind or about other files, or holds too few
            approvals of this model on this decision.
    """
    statement, asked = signed.statement, _asked(policy, signed=signed, what=what)
    if statement.predicate_type != PREDICATE_TYPE:
        raise _refused(
            signed, f"it states {statement.predicate_type:.80}, not {PREDICATE_TYPE}", what=what
        )
    if statement.sha256 != sha256:
        raise _refused(
            signed, f"they are about {statement.sha256}, the signed files are {sha256}", what=what
        )
    by = {
        people.key_of(approval.by.name): approval.by.name
        for approval in _approvals(signed, what=what)
        if approval.verdict == "approved"
        and (approval.model, approval.decision) == (decision.model, decision.digest())
        and _may(approval, asked)
    }
    if len(by) < asked.people:
        raise _refused(
            signed,
            f"the policy asks for {asked.people}, and {len(by)} are of this model and decision by "
            "different people who may approve",
            what=what,
        )
    return tuple(by.values())


def _asked(policy: Mapping[str, Any], *, signed: Signed, what: str) -> _Asked:
    try:
        return _Asked.model_validate(policy.get("approval") or {})
    except ValidationError as error:
        why = f"the policy's section on them cannot be read: {explain(error):.160}"
        raise _refused(signed, why, what=what) from error


def _approvals(signed: Signed, *, what: str) -> list[Approval]:
    stated = signed.statement.predicate.get("approvals")
    try:
        given = stated if isinstance(stated, list) else []
        return [Approval.parse(each, where=str(signed.file)) for each in given]
    except PenstockError as error:
        raise _refused(signed, error.what.rstrip("."), what=what) from error


def _may(approval: Approval, asked: _Asked) -> bool:
    named = {people.key_of(name) for name in asked.approvers}
    return not named or people.key_of(approval.by.name) in named


def _refused(signed: Signed, why: str, *, what: str) -> UntrustedError:
    return UntrustedError(
        f"the approvals that key {signed.by} signed do not let {what} be served: {why}",
        where=str(signed.file),
        remedy="Have it approved (penstock approve) and sign it again (penstock sign).",
    )
