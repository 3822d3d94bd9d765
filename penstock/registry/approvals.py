"""What people say of a version: written to the registry, and read back with the trail beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from penstock import tracking
from penstock.common import people
from penstock.errors import InputError, IntegrityError, NotApprovedError, PenstockError
from penstock.gate.approval import ApprovalSpec, Judgement, judge
from penstock.records.approval import REASON_LENGTH, Approval, Identity
from penstock.registry import audit, versions
from penstock.registry.audit import Word
from penstock.registry.identity import on_platform
from penstock.registry.versions import answers

_LONGEST_DAYS = 36_500.0


@dataclass(frozen=True)
class Seen:
    """What somebody was shown before they gave their word; empty: not told.

    Attributes:
        model: Digest of the model's folder.
        decision: Digest of the decision.
    """

    model: str = ""
    decision: str = ""

    def require(self, uri: str, *, model: str, decision: str) -> None:
        """Return only if the version is still what was shown.

        Raises:
            IntegrityError: If it is not.
        """
        pairs = {"model": (self.model, model), "decision": (self.decision, decision)}
        for what, (shown, found) in pairs.items():
            if shown and shown != found:
                raise IntegrityError(
                    f"the {what} that you looked at is {shown}, the version's {found or 'none'}",
                    where=uri,
                    remedy="Look at the version again, then give your word on what is there now.",
                )


def say(
    uri: str,
    *,
    verdict: Literal["approved", "rejected"],
    by: Identity,
    reason: str,
    tracking_uri: str,
    valid_days: float = 7.0,
    seen: Seen = Seen(),
) -> Approval:
    """Write one person's word on a version into the trail, and then to the version.

    Args:
        uri: `models:/name/3`: an alias may name another version than the person looked at.
        verdict: What they say.
        by: Who says it.
        reason: Why; 1 to 1,000 characters.
        tracking_uri: The MLflow store.
        valid_days: After which an approval expires; the policy's own `valid_days` binds too.
        seen: What the person was shown of the version.

    Raises:
        InputError: If there is no such version, `uri` names an alias, the reason is empty or too
            long, or `by` names nobody.
        IntegrityError: If the version has another model or decision than the person was shown, or
            is to be approved and its tags are not what the trail says was registered.
        ServiceError: If the registry does not take it.
    """
    if "@" in uri:
        raise InputError(
            f"{uri} is the version that has the alias now, not the one that you looked at",
            where="approval",
            remedy="Name the version by its number: models:/NAME/VERSION.",
        )
    people.check_name(by.name, where="approval")
    if not people.is_known(by.name):
        raise InputError(
            f"{by.name} names nobody", where="approval", remedy="Say who you are: --as NAME."
        )
    if not 0 < len(reason.strip()) <= REASON_LENGTH:
        raise InputError(
            f"a reason has 1 to {REASON_LENGTH:,} characters, this has {len(reason.strip()):,}",
            where="reason",
        )
    version = versions.registered(uri, tracking_uri=tracking_uri)
    decision = version.tags.get(versions.DECISION_DIGEST, "")
    seen.require(version.uri, model=version.model, decision=decision)
    now = datetime.now(UTC)
    word = Approval(
        uri=version.uri,
        model=version.model,
        decision=decision,
        verdict=verdict,
        by=by,
        reason=reason.strip(),
        time=now,
        expires=now + timedelta(days=min(valid_days, _LONGEST_DAYS)),
    )
    if verdict == "approved":
        versions.require_as_registered(version, tracking_uri=tracking_uri)
    store = tracking.client(tracking_uri)
    key = f"{versions.APPROVAL}{now:%Y%m%dT%H%M%S%f}.{_hex(word.digest())}"
    with answers(tracking_uri):
        audit.write(
            store,
            version.name,
            event=verdict,
            uri=version.uri,
            word=Word(
                by=by.name,
                means=by.means,
                reason=word.reason,
                digests={"approval": word.digest(), "decision": word.decision},
            ),
        )
        store.set_model_version_tag(version.name, str(version.version), key, audit.compact(word))
    return word


def read(tags: Mapping[str, str], *, trail: audit.Trail) -> tuple[Approval, ...]:
    """Return what was said of a version, from its tags, in the order of the trail.

    Args:
        tags: Of the version.
        trail: Of its registered model: a word that is not in it was not said through Penstock.

    Raises:
        NotApprovedError: If one cannot be read, is not in the trail or in it twice: somebody wrote
            it by hand.
    """
    found = []
    for key in sorted(tags):
        if not key.startswith(versions.APPROVAL):
            continue
        try:
            found.append(Approval.loads(tags[key], where=key))
        except PenstockError as error:
            raise _forged(f"the approval {key} cannot be read: {error}") from error
    told = _told(trail)
    for word in found:
        place, _ = told.get(word.digest(), (-1, ""))
        if place < 0 or trail.entries[place].event != word.verdict:
            raise _forged(
                f"the approval of {word.by.name} ({word.verdict}, {word.time:%Y-%m-%d %H:%M} UTC) "
                "is not in the audit trail as it stands here: it was forged or edited"
            )
    return _in_order(found, trail=trail, told=told)


def said_before(
    words: Iterable[Approval], *, trail: audit.Trail, digest: str
) -> tuple[Approval, ...]:
    """Return the words that were in the trail where an entry was written, in their order.

    Args:
        words: As `read` returns them.
        trail: Of the registered model.
        digest: Of the entry.
    """
    there = trail.before(digest)
    told = _told(there)
    return _in_order((word for word in words if word.digest() in told), trail=there, told=told)


def _told(trail: audit.Trail) -> dict[str, tuple[int, str]]:
    """Return where the trail tells of a word, by the word's digest: the entry's place and digest.

    Raises:
        NotApprovedError: If it tells of one twice: an old word may not be said again by others.
    """
    told: dict[str, tuple[int, str]] = {}
    for place, (digest, entry) in enumerate(zip(trail.digests, trail.entries, strict=True)):
        word = entry.digests.get("approval", "")
        if word in told:
            raise _forged(f"the audit trail tells a word of {entry.by} on {entry.uri} twice")
        if word:
            told[word] = place, digest
    return told


def _in_order(
    words: Iterable[Approval], *, trail: audit.Trail, told: Mapping[str, tuple[int, str]]
) -> tuple[Approval, ...]:
    """Put words in the order of the trail; of two that do not know each other a no is the later."""
    ordered = sorted(words, key=lambda word: told[word.digest()])
    taken_back = {
        no.digest(): any(
            people.key_of(yes.by.name) == people.key_of(no.by.name)
            and trail.descends(told[yes.digest()][1], told[no.digest()][1])
            for yes in ordered
            if yes.verdict == "approved"
        )
        for no in ordered
        if no.verdict == "rejected"
    }
    return tuple(sorted(ordered, key=lambda word: not taken_back.get(word.digest(), True)))


def judge_tags(
    uri: str, *, tags: Mapping[str, str], model_tags: Mapping[str, str], spec: ApprovalSpec
) -> Judgement:
    """Say whether people have approved a version, now.

    Args:
        uri: The version, `models:/name/3`.
        tags: Its tags.
        model_tags: Those of its registered model, which hold the trail.
        spec: What the policy asks for.

    Raises:
        NotApprovedError: If what was said was tampered with.
    """
    trail = audit.read(model_tags)
    if trail.problems:
        raise _forged(f"the audit trail is broken. {trail.problems[0]}")
    said = read(tags, trail=trail)
    require_all(said, trail=trail, uri=uri)
    return judge(
        said,
        spec=spec,
        model=tags.get(versions.MODEL_DIGEST, ""),
        decision=tags.get(versions.DECISION_DIGEST, ""),
        trained_by=tags.get(versions.TRAINED_BY, ""),
        now=datetime.now(UTC),
        platform=on_platform(),
    )


def require_all(said: tuple[Approval, ...], *, trail: audit.Trail, uri: str) -> None:
    """Return only if every rejection that the trail tells of is among the words.

    A word is told first and written then. One that was cut short in between stands as a rejection
    until the same person, known in the same way, approves.

    Raises:
        NotApprovedError: If one was taken away, or cut short.
    """
    there = {word.digest() for word in said}
    approving = [word for word in said if word.verdict == "approved"]
    told = _told(trail)
    for digest, entry in zip(trail.digests, trail.entries, strict=True):
        missing = entry.event == "rejected" and entry.digests.get("approval") not in there
        if entry.uri != uri or not missing:
            continue
        taken_back = any(
            people.key_of(word.by.name) == people.key_of(entry.by)
            and word.by.means == entry.means
            and trail.descends(told[word.digest()][1], digest)
            for word in approving
        )
        if not taken_back:
            raise _forged(
                f"the rejection by {entry.by} is in the trail and not with the version: it was "
                "removed, or cut short"
            )


def _forged(what: str) -> NotApprovedError:
    return NotApprovedError(
        what,
        where="approval",
        remedy="Look at: penstock audit. Remove what was written by hand, and have whoever said it "
        "say it again with: penstock approve models:/NAME/VERSION --reason TEXT",
    )


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")[:8]
