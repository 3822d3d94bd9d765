"""What the evidence of one version says: the only thing that a passport is made from."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock.errors import IntegrityError
from penstock.records.approval import Approval
from penstock.records.evidence import MANIFEST, AuditEntry, Evidence
from penstock.registry import approvals, audit
from penstock.registry.card import final_card
from penstock.registry.pack_records import PackRecords, read_pack
from penstock.registry.spec import CardSpec
from penstock.registry.verify import fetch_verified
from penstock.registry.versions import Version

UNKNOWN = "Not known: the evidence of this version does not say it."

_NAMED = 3


@dataclass(frozen=True)
class Facts(PackRecords):
    """What is known of a version: the records of its evidence, and its tags.

    Attributes:
        version: The version and its tags.
        evidence: The manifest of its evidence.
        owner: What its owner says of it; all empty where the evidence was kept without.
        card: The model card in Markdown; empty: the evidence was kept without one.
        given: Approvals and rejections, in the order of the log.
        log: The entries of the audit log on this version, in their order.
    """

    version: Version
    evidence: Evidence
    owner: CardSpec
    card: str
    given: tuple[Approval, ...]
    log: tuple[AuditEntry, ...]

    @property
    def registered(self) -> datetime:
        """When it was registered, by the clock of who did it: the time that documents have."""
        return next(entry.time for entry in self.log if entry.event == audit.REGISTERED)

    @property
    def digests(self) -> dict[str, str]:
        """The digests that every document names, by what they are of."""
        return {
            "evidence": self.evidence.digest(),
            "model": self.evidence.model,
            "training part": self.evidence.dataset,
            "holdout": self.evidence.holdout,
            "decision": self.evidence.decision,
        }

    def identifier(self, of: str) -> uuid.UUID:
        """Return an identifier that is the same whenever a passport of this evidence is made.

        Args:
            of: What it identifies, among all that this evidence has.
        """
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{self.version.uri} {self.evidence.digest()} {of}")


def read_facts(uri: str, *, tracking_uri: str) -> Facts:
    """Return what the evidence of a version says, after every digest of it was computed again.

    Args:
        uri: `models:/name/3` or `models:/name@alias`.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If there is no such version.
        IntegrityError: If its evidence does not hold, or there is none.
        ServiceError: If the registry does not answer.
    """
    with TemporaryDirectory() as place:
        found = fetch_verified(uri, tracking_uri=tracking_uri, into=Path(place))
        bad = [f"{check.name} ({check.verdict})" for check in found.checks if not check.good]
        if bad or found.pack is None:
            more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
            raise IntegrityError(
                f"its evidence does not hold, so no passport is made of it: "
                f"{', '.join(bad[:_NAMED])}{more}",
                where=found.version.uri,
                remedy=f"penstock verify {found.version.uri} lists every check.",
            )
        return _facts(found.version, found.pack, found.model_tags)


def _facts(version: Version, pack: Path, tags: dict[str, str]) -> Facts:
    log = audit.read(tags)
    card = final_card(pack, version=version, model_tags=tags)
    records = read_pack(pack)
    return Facts(
        **vars(records),
        version=version,
        evidence=Evidence.read(pack / MANIFEST),
        owner=records.stated or CardSpec(),
        card=card.markdown if card else "",
        given=approvals.read(version.tags, log=log),
        log=log.of(version.uri),
    )


def sentences(items: Iterable[str]) -> str:
    """Return texts as sentences on one line; empty ones are left out."""
    kept = (" ".join(item.split()) for item in items)
    return " ".join(item if item.endswith((".", "!", "?")) else f"{item}." for item in kept if item)
