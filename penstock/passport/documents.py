"""A passport as a folder: written whole, and checked by its digests or against the evidence."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import penstock
from penstock.common import files
from penstock.errors import InputError, IntegrityError
from penstock.passport.bill_of_materials import bill_of_materials
from penstock.passport.croissant import croissant
from penstock.passport.facts import Facts, read_facts
from penstock.passport.hub_card import hub_card
from penstock.passport.lineage import lineage
from penstock.passport.technical_documentation import technical_documentation
from penstock.records.passport import FILE_NAME, Passport
from penstock.registry import signing

SIGNATURE = "passport.sig"
"""The signature on a passport, in the folder itself, where a key is configured."""


def write_passport(uri: str, *, tracking_uri: str, folder: Path) -> Passport:
    """Write the passport of a version into a new folder, whole or not at all.

    Everything in it comes from the version's evidence, after every digest of that was computed
    again; two passports of the same state of the registry are equal, byte for byte.

    Args:
        uri: `models:/name/3` or `models:/name@alias`.
        tracking_uri: The MLflow store.
        folder: Where to write; it must not be there.

    Returns:
        What `passport.json` says.

    Raises:
        InputError: If the folder is there, or there is no such version.
        IntegrityError: If the evidence does not hold.
        ServiceError: If the registry does not answer.

    Example:
        >>> write_passport(
        ...     "models:/loans/2", tracking_uri="http://127.0.0.1:5000", folder=Path("passport")
        ... ).files  # doctest: +SKIP
        {'README.md': 'sha256:...', 'croissant.json': 'sha256:...', ...}
    """
    if folder.exists():
        raise InputError(
            "it is there already",
            where=str(folder),
            remedy="Name another folder, or remove it. penstock passport --check compares it.",
        )
    facts = read_facts(uri, tracking_uri=tracking_uri)
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        passport = _write(facts, place)
        place.chmod(0o755)
        place.replace(folder)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return passport


def documents(facts: Facts) -> dict[str, str]:
    """Return the documents of a passport by file name.

    Args:
        facts: What the evidence says.
    """
    found = {
        "README.md": hub_card(facts),
        "bom.cdx.json": bill_of_materials(facts),
        "croissant.json": croissant(facts),
        "lineage.ndjson": lineage(facts),
        "technical-documentation.md": technical_documentation(facts),
    }
    return {name: text for name, text in found.items() if text is not None}


def check_passport(folder: Path, *, key: Path | None = None) -> Passport:
    """Return what a passport says, if every document is as it was written and names its digests.

    Args:
        folder: The passport.
        key: The public key that it must be signed by, PEM; None: a signature is not looked at.

    Raises:
        InputError: If there is no passport, or the key cannot be read.
        IntegrityError: If a file was changed, added or removed, a document does not name a digest
            that it has to, or the signature does not hold.

    Example:
        >>> check_passport(Path("of-nothing"))
        Traceback (most recent call last):
        penstock.errors.InputError: of-nothing: there is no passport. Name the folder that ...
    """
    if not (folder / FILE_NAME).is_file():
        raise InputError(
            "there is no passport",
            where=str(folder),
            remedy="Name the folder that penstock passport -o wrote.",
        )
    passport = Passport.read(folder / FILE_NAME)
    present = {path.name for path in folder.iterdir()} - {FILE_NAME, SIGNATURE}
    for name in sorted(present | passport.files.keys()):
        path = folder / name
        found = files.digest_of_file(path) if path.is_file() else "none"
        expected = passport.files.get(name, "none")
        if found != expected:
            _refuse(path, f"its digest is {found}, the passport says {expected}")
    for name in passport.files:
        text = (folder / name).read_text(encoding="utf-8")
        for what, digest in passport.named.items():
            if digest not in text.replace("\\", ""):
                _refuse(folder / name, f"it does not name the digest of the {what}, {digest}")
    if key is not None:
        _check_signature(folder, key=key)
    return passport


def compare_passport(folder: Path, *, uri: str, tracking_uri: str) -> Passport:
    """Return what a passport says, if the evidence gives the very same documents now.

    Args:
        folder: The passport.
        uri: `models:/name/3` or `models:/name@alias`.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If there is no passport, or no such version.
        IntegrityError: If the passport or the evidence was changed, or the evidence says more now.
        ServiceError: If the registry does not answer.

    Example:
        >>> compare_passport(
        ...     Path("passport"), uri="models:/loans/2", tracking_uri="http://127.0.0.1:5000"
        ... ).uri  # doctest: +SKIP
        'models:/loans/2'
    """
    passport = check_passport(folder)
    facts = read_facts(uri, tracking_uri=tracking_uri)
    made = _passport(facts, documents(facts))
    if passport.uri != made.uri:
        _refuse(folder, f"it is of {passport.uri}, not of {made.uri}")
    for what, digest in made.named.items():
        if passport.named[what] != digest:
            found = passport.named[what]
            _refuse(folder, f"it names {found} as digest of the {what}, the evidence {digest}")
    differing = [name for name, each in made.files.items() if passport.files.get(name) != each]
    if differing or passport.files.keys() != made.files.keys():
        written = f"Penstock {passport.code} wrote it, this is {penstock.__version__}"
        raise IntegrityError(
            f"the evidence gives another {', '.join(differing) or 'set of documents'} now: "
            "approvals, rollouts or servings came since it was written, or it was changed with "
            f"its digests ({written})",
            where=str(folder),
            remedy="Write a new one and compare the two.",
        )
    return passport


def _write(facts: Facts, folder: Path) -> Passport:
    texts = documents(facts)
    for name, text in texts.items():
        files.write_text(folder / name, text)
    passport = _passport(facts, texts)
    passport.write(folder / FILE_NAME)
    with tempfile.TemporaryDirectory() as aside:
        signature = Path(aside) / SIGNATURE
        if signing.sign(folder, output=signature):
            shutil.copy(signature, folder / SIGNATURE)
    return passport


def _passport(facts: Facts, texts: dict[str, str]) -> Passport:
    return Passport(
        uri=facts.version.uri,
        evidence=facts.evidence.digest(),
        model=facts.evidence.model,
        export=facts.evidence.export,
        dataset=facts.evidence.dataset,
        holdout=facts.evidence.holdout,
        decision=facts.evidence.decision,
        code=penstock.__version__,
        files={name: files.digest_of_text(text) for name, text in sorted(texts.items())},
    )


def _check_signature(folder: Path, *, key: Path) -> None:
    signature = folder / SIGNATURE
    if not signature.is_file():
        _refuse(folder, "it is not signed")
    with tempfile.TemporaryDirectory() as place:
        # What was signed is the folder before the signature lay in it.
        copy = Path(place) / "passport"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(SIGNATURE))
        signing.verify(copy, signature=signature, key=key)


def _refuse(where: Path, problem: str) -> None:
    raise IntegrityError(
        problem,
        where=str(where),
        remedy="Do not use it: write a new passport with penstock passport.",
    )
