"""The record of a dataset that a registered version was trained on, by its digest or version."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from penstock import tracking
from penstock.common import files
from penstock.errors import InputError, IntegrityError
from penstock.records.dataset import Dataset
from penstock.records.evidence import MANIFEST, Evidence
from penstock.registry import versions
from penstock.registry.evidence import fetch_pack
from penstock.registry.versions import Version, answers

_TRAIN = "train.json"


def record_by_digest(digest: str, *, tracking_uri: str) -> Dataset:
    """Return the record of the training part of the newest version that used a dataset.

    Args:
        digest: Content digest of the dataset, or of its training part: `rows1:...`.
        tracking_uri: The MLflow store.

    Raises:
        InputError: If no version names it.
        IntegrityError: If the evidence of the version was changed.
        ServiceError: If the registry does not answer.
    """
    store = tracking.client(tracking_uri)
    with answers(tracking_uri):
        for tag in (versions.DATASET, versions.TRAINING_PART):
            found = store.search_model_versions(
                f"tags.`{tag}` = '{digest}'", order_by=["last_updated_timestamp DESC"]
            )
            if found:
                break
    if not found:
        raise InputError(
            "no registered version was trained on this dataset",
            where=digest,
            remedy="Name the folder of the dataset, or of the run that read it, if that is there.",
        )
    return record_of(versions.as_version(found[0]), tracking_uri=tracking_uri)


def record_of(version: Version, *, tracking_uri: str) -> Dataset:
    """Return the record of a version's training part, as its evidence has it.

    Raises:
        InputError: If the version has no evidence, or this record is not in it.
        IntegrityError: If the evidence was changed since it was kept.
        ServiceError: If the registry does not answer.
    """
    with TemporaryDirectory() as place:
        pack, _ = fetch_pack(version, tracking_uri=tracking_uri, into=Path(place))
        if pack is None or not (pack / _TRAIN).is_file():
            raise InputError(
                "its evidence does not hold the training part's record",
                where=version.uri,
                remedy=f"penstock verify {version.uri} lists what there is.",
            )
        manifest = Evidence.read(pack / MANIFEST)
        kept = manifest.files.get(_TRAIN)
        same = manifest.digest() == version.tags.get(versions.EVIDENCE_DIGEST)
        if not same or files.digest_of_file(pack / _TRAIN) != kept:
            raise IntegrityError(
                "its evidence was changed since it was registered",
                where=version.uri,
                remedy=f"penstock verify {version.uri} lists every check.",
            )
        return Dataset.read(pack / _TRAIN)
