"""From a command line to a server that answers: find the model, check it, load it, serve it."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import InputError, PenstockError
from penstock.serving import feature_options

if TYPE_CHECKING:
    from penstock.serving.online_features import OnlineFeatures
    from penstock.serving.prediction import Scorer
    from penstock.serving.request_log import RequestLog
    from penstock.serving.server import Application
    from penstock.serving.service import Service

    Build = Callable[[Service, RequestLog], Application]

_REGISTERED = "models:/"


@dataclass(frozen=True)
class _Source:
    """Where the model lies, and what it must be.

    Attributes:
        folder: Its folder.
        name: Its name in requests.
        version: Its version.
        digest: Digest that the folder must have.
        export: Digest that the ONNX form in it must have; empty: scikit-learn answers.
    """

    folder: Path
    name: str
    version: str
    digest: str
    export: str


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return the command line of a server."""
    # An admission policy reads options by their whole names.
    result = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    add = result.add_argument
    add("--model", required=True, help="the model's folder, models:/name/3 or models:/name@alias")
    add("--name", default="", help="its name in requests (a folder needs it)")
    add("--version", default="", help="its version in the registry (a folder needs it)")
    add("--digest", default="", help="sha256:... that the folder must have (a folder needs it)")
    add("--export", default="", help="sha256:... of its ONNX form, which then answers")
    add(
        "--trust",
        type=Path,
        metavar="FOLDER",
        help="folder of public keys (NAME.pub; NAME.withdrawn is not trusted any more): only a "
        "model that one of them signed, with a decision that approves it, is loaded; left out: "
        "signatures are not looked at",
    )
    add("--tracking-uri", default="", help="MLflow store of models:/; else MLFLOW_TRACKING_URI")
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("--port", type=int, required=True, help="port to listen on")
    add("--max-rows", type=int, default=10_000, help="rows in a request (%(default)s)")
    add("--max-body", type=int, default=16 << 20, help="bytes in a request (%(default)s)")
    add(
        "--max-bodies",
        type=int,
        default=128 << 20,
        help="bytes of all requests under way, beyond 64 KiB each (%(default)s)",
    )
    add(
        "--max-seconds",
        type=float,
        default=60.0,
        help="seconds that a client may take to send a body, or to take an answer (%(default)s)",
    )
    add("--max-connections", type=int, default=1000, help="connections at a time (%(default)s)")
    add(
        "--unseen",
        choices=("accept", "reject"),
        default="accept",
        help="a category's value that training did not see (%(default)s)",
    )
    add("--capture", type=Path, help="folder to keep answers and labels in; left out: none")
    add("--capture-files", type=int, default=10, help="files of each kind in it (%(default)s)")
    add("--capture-bytes", type=int, default=64 << 20, help="bytes of a file (%(default)s)")
    add(
        "--capture-days",
        type=float,
        default=0.0,
        help="days after which a file is removed; 0: whatever its age (%(default)s)",
    )
    add(
        "--capture-sample",
        type=_share,
        default=1.0,
        help="share of the requests that is captured, by their ids (%(default)s)",
    )
    add("--capture-to", default="", help="address to ship captured rows to; left out: none are")
    add(
        "--capture-seconds",
        type=float,
        default=60.0,
        help="age at which a file is closed to be shipped (%(default)s)",
    )
    add(
        "--capture-spool-bytes",
        type=int,
        default=256 << 20,
        help="bytes of all files that wait to be shipped; rows beyond it are dropped (%(default)s)",
    )
    add("--remember", type=int, default=100_000, help="rows that labels may come for (%(default)s)")
    add(
        "--feedback-token-file",
        type=Path,
        help="file with the token that labels need; without one: taken on loopback alone",
    )
    add(
        "--own-traffic",
        default="",
        help="sha256:... of the key that marks a rollout's own requests; left out: none are",
    )
    feature_options.add(result)
    add("--log", type=Path, help="the file that the output goes to; it is rotated by size")
    return result


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return share


def run(
    options: argparse.Namespace, *, build: Build | None = None, notes: Mapping[str, Any] = {}
) -> int:
    """Load what `options` name and serve it until SIGTERM; return the exit code.

    Args:
        options: From `parser`.
        build: Makes the application; None: `InferenceApp`.
        notes: Further fields of the model's metadata.
    """
    # One row is predicted up to five times faster by one OpenMP thread than by a team of them; the
    # libraries read this once, when they are loaded.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # Modules and a model are no garbage: looking for some while they load takes 5 % of the start.
    gc.disable()
    try:
        return _run(options, build, notes)
    finally:
        gc.enable()


def _run(options: argparse.Namespace, build: Build | None, notes: Mapping[str, Any]) -> int:
    try:
        if options.capture_to and options.capture is None:
            raise InputError(
                "there is nothing to ship without a folder to capture into",
                where="--capture-to",
                remedy="Name the folder with --capture.",
            )
        with _source(options) as source:
            _require_vouched(source, trusted=options.trust)
            service = _service(source, options, notes)
        request_log = _request_log(service, options)
    except PenstockError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    from penstock.processes import logs
    from penstock.serving.app import InferenceApp
    from penstock.serving.server import serve
    from penstock.serving.tracing import traced

    try:
        if options.log is not None:
            request_log.watch(logs.bound(options.log))
        application = traced(
            (build or InferenceApp)(service, request_log),
            name=service.name,
            version=service.version,
        )
        gc.freeze()
        gc.enable()
        serve(application, service.limits, host=options.host, port=options.port)
    except PenstockError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    finally:
        if request_log.capture is not None:
            request_log.capture.close()
        if request_log.shipment is not None:
            request_log.shipment.finish()
    return 0


@contextlib.contextmanager
def _source(options: argparse.Namespace) -> Iterator[_Source]:
    if options.model.startswith(_REGISTERED):
        with tempfile.TemporaryDirectory(prefix="penstock-serving-") as folder:
            yield _registered(options, Path(folder) / "model")
        return
    for option in ("name", "version", "digest"):
        if not getattr(options, option):
            raise InputError(
                f"--{option} is missing",
                where=f"--model {options.model}",
                remedy="Give it, or name a registered model (models:/name@alias), which has it.",
            )
    yield _Source(
        folder=Path(options.model),
        name=options.name,
        version=options.version,
        digest=options.digest,
        export=options.export,
    )


def _require_vouched(source: _Source, *, trusted: Path | None) -> None:
    if trusted is None:
        return
    from penstock.signatures.door import require_vouched
    from penstock.signatures.keys import read_keys

    what = f"version {source.version} of {source.name}"
    keys = read_keys(trusted)
    by = require_vouched(source.folder, keys=keys, model=source.digest, what=what)
    approved = f", approved by {', '.join(by.people)}" if by.people else ""
    said = f"{what} is signed by key {by.files}, its decision by key {by.decision}{approved}"
    sys.stderr.write(f"{said}\n")


def _registered(options: argparse.Namespace, folder: Path) -> _Source:
    if importlib.util.find_spec("mlflow") is None:
        raise InputError(
            "the MLflow client, which finds registered models, is not installed here",
            where=f"--model {options.model}",
            remedy="Give the version's folder, with --name, --version, --digest and --export.",
        )
    from penstock.registry import versions

    version = versions.registered(options.model, tracking_uri=options.tracking_uri)
    versions.fetch(version.uri, tracking_uri=options.tracking_uri, destination=folder)
    return _Source(
        folder=folder,
        name=options.name or version.name,
        version=options.version or str(version.version),
        digest=options.digest or version.model,
        export=options.export or version.tags.get(versions.EXPORT_DIGEST, ""),
    )


def _service(source: _Source, options: argparse.Namespace, notes: Mapping[str, Any]) -> Service:
    from penstock import model
    from penstock.records import export
    from penstock.serving.loading import load_scorer
    from penstock.serving.service import Limits, Service

    scorer = load_scorer(source.folder, digest=source.digest, export=source.export)
    recorded = source.folder / export.FOLDER / export.FILE_NAME
    return Service(
        scorer=scorer,
        name=source.name,
        version=source.version,
        limits=Limits(
            rows=options.max_rows,
            body=options.max_body,
            bodies=options.max_bodies,
            seconds=options.max_seconds,
            connections=options.max_connections,
        ),
        levels=_levels(scorer, unseen=options.unseen),
        unseen=options.unseen,
        background=model.background(source.folder),
        # Without its digest nothing vouches for what lies there.
        export=export.Export.read(recorded) if source.export else None,
        missing=_missing(source.folder),
        notes=notes,
        features=_features(source, scorer, options),
    )


def _features(
    source: _Source, scorer: Scorer, options: argparse.Namespace
) -> OnlineFeatures | None:
    spec = feature_options.spec_of(options)
    if not spec.url:
        return None
    from penstock.serving.online_features import online_features

    labels = {"model": source.name, "model_version": source.version}
    return online_features(source.folder, scorer.record, spec=spec, labels=labels)


def _missing(folder: Path) -> dict[str, float]:
    """Return the share of the training rows in which each column is missing, where it was noted."""
    from penstock.records.reference import FILE_NAME, Reference

    if not (folder / FILE_NAME).is_file():
        return {}
    reference = Reference.read(folder / FILE_NAME)
    return {column.name: column.nulls / max(reference.rows, 1) for column in reference.columns}


def _levels(scorer: Scorer, *, unseen: str) -> dict[str, frozenset[str]]:
    levels = scorer.record.levels
    if levels is None:
        if unseen == "reject":
            raise InputError(
                "this model does not hold the values that its categories were trained with",
                where="--unseen reject",
                remedy="Train it again with this release of Penstock, or accept unseen values.",
            )
        return {}
    # Of an incomplete list nobody knows whether training saw another value.
    return {level.column: frozenset(level.values) for level in levels if level.complete}


def _request_log(service: Service, options: argparse.Namespace) -> RequestLog:
    from penstock.captures.files import Bounds
    from penstock.captures.segments import CapturedModel
    from penstock.serving.capture import Capture
    from penstock.serving.feedback import Memory, restore
    from penstock.serving.feedback_access import FeedbackAccess, is_loopback
    from penstock.serving.metrics import ServingMetrics
    from penstock.serving.request_headers import RolloutKey
    from penstock.serving.request_log import RequestLog
    from penstock.serving.shipment import Shipment

    scorer = service.scorer
    metrics = ServingMetrics(
        name=service.name,
        version=service.version,
        record=service.record,
        runtime=scorer.runtime,
        digest=scorer.digest,
        missing=service.missing,
    )
    if service.features is not None:
        metrics.add(service.features.collectors)
    capture = None
    if options.capture is not None:
        capture = Capture(
            options.capture,
            bounds=Bounds(
                file_bytes=options.capture_bytes,
                files=options.capture_files,
                days=options.capture_days or None,
                seconds=options.capture_seconds if options.capture_to else None,
                spool_bytes=options.capture_spool_bytes if options.capture_to else None,
            ),
            written=metrics.captured.inc,
            dropped=metrics.dropped.inc,
            model=CapturedModel.of(
                service.record, service=service.name, version=service.version, digest=scorer.digest
            ),
            sample=options.capture_sample,
        )
    request_log = RequestLog(
        metrics=metrics,
        memory=Memory(service.record, rows=options.remember),
        capture=capture,
        access=FeedbackAccess(
            token_file=options.feedback_token_file, loopback=is_loopback(options.host)
        ),
        rollout_key=RolloutKey(options.own_traffic),
    )
    if capture is not None:
        restore(request_log.memory, options.capture, version=service.version, rows=options.remember)
        request_log.watch(capture.thread)
        if options.capture_to:
            request_log.shipment = Shipment(options.capture, options.capture_to)
            metrics.watch_spool(options.capture)
    return request_log
