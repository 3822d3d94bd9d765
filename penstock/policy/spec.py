"""The policy: one document that a reviewer can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from penstock.common import files
from penstock.policy import quality
from penstock.policy.rule_set import RuleSet


class Policy(RuleSet):
    """What a candidate must show to be released. A rule that is null is not asked."""

    @classmethod
    def decided_on(cls, raw: Mapping[str, Any], *, where: str) -> Policy:
        """Return a policy that a decision was made on.

        Whether it can refuse a bad model was asked then, if at all: `parse` asks it of a new one.

        Args:
            raw: Field values by name.
            where: What to call it in an error.

        Raises:
            InputError: As `parse` does.
        """
        found = cls.parse({**raw, "without_quality": "accepted"}, where=where)
        return found.model_copy(update={"without_quality": raw.get("without_quality")})

    @model_validator(mode="after")
    def _refuses(self) -> Policy:
        lacking = quality.missing(self)
        if lacking:
            raise ValueError(f"without_quality: {lacking}. {quality.REMEDY}")
        return self

    def digest(self) -> str:
        """Return `sha256:<hex>` of the policy with its defaults filled in."""
        return files.digest_of_text(files.canonical_json(self.model_dump(mode="json")))
