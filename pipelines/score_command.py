"""The commands that score without a server: `penstock score` and `penstock bundle`."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import UsageError
from penstock.pipelines.located import add_store_options, store_of
from penstock.scoring.spec import PART_ROWS

if TYPE_CHECKING:
    from penstock.records.scores import Scores


def add_score_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `penstock`."""
    _add_bundle(commands)
    command = commands.add_parser(
        "score",
        help="score every row of a table by a registered version",
        description=_score.__doc__,
        epilog="Exit codes: 0 every row was scored, or set aside as asked for; 1 failed, 2 usage. "
        "A command that was killed goes on where it stopped if it is given again.",
    )
    add = command.add_argument
    add("model", help="models:/NAME@champion, or models:/NAME/NUMBER")
    add("--data", required=True, metavar="SOURCE", help="file, folder, glob, URL or SQLAlchemy URL")
    add("--query", default="", help="SQL, when SOURCE is a database; with an ORDER BY")
    add(
        "--source",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="how to read it, as in the project file's section source, like delimiter=';'; may be "
        "repeated. Types and texts for missing values are the model's",
    )
    add(
        "--out",
        required=True,
        metavar="DESTINATION",
        help="folder, s3://, gs:// or abfs:// address, or a SQLAlchemy URL of SQLite, DuckDB or "
        "PostgreSQL",
    )
    add("--form", choices=("parquet", "csv"), default="parquet", help="of a folder (%(default)s)")
    add(
        "--partition-by",
        action="append",
        default=[],
        metavar="COLUMN,...",
        help="columns whose values name folders, COLUMN=VALUE/, in a folder or a store: of those "
        "that are kept, or prediction",
    )
    add("--table", default="scores", help="of a database (%(default)s)")
    add("--run", default="", help="names the run; a database needs it, to append nothing twice")
    add(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMN,...",
        help="columns of the source to write before the predictions",
    )
    add(
        "--request-ids",
        action="store_true",
        help="write the column request_id, by which labels find captured rows",
    )
    add(
        "--on-error",
        choices=("fail", "quarantine"),
        default="fail",
        help="a row that the server would refuse: fail, or set it aside with the reason "
        "(%(default)s)",
    )
    add(
        "--unseen",
        choices=("accept", "reject"),
        default="accept",
        help="a category's value that training did not see (%(default)s)",
    )
    add(
        "--explain",
        action="store_true",
        help="add what each column contributed to the score, as :explain says it; slow",
    )
    add(
        "--part-rows",
        type=int,
        default=PART_ROWS,
        metavar="ROWS",
        help="rows of the source in a part (%(default)s)",
    )
    add("--capture", default="", metavar="ADDRESS", help="capture the rows for the monitor there")
    add(
        "--capture-sample",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the rows that is captured (%(default)s)",
    )
    add(
        "--unapproved",
        action="store_true",
        help="take a version that is named by its number although it was not approved",
    )
    add(
        "--engine",
        default="local",
        choices=("local", "dask"),
        help="what answers the rows, with the same output: processes of Penstock's own, or a Dask "
        "cluster on this machine (%(default)s)",
    )
    add("--workers", type=int, default=1, metavar="N", help="its processes (%(default)s)")
    add_store_options(command)
    command.set_defaults(command=_score)


def _add_bundle(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "bundle",
        help="write a version as a folder that answers without Penstock",
        description=_bundle.__doc__,
    )
    add = command.add_argument
    add("model", help="models:/NAME@champion, or models:/NAME/NUMBER")
    add("--out", type=Path, required=True, metavar="FOLDER", help="the folder to make")
    add(
        "--form",
        choices=("scorer", "triton", "booster", "modelcar"),
        default="scorer",
        help="a scorer that needs onnxruntime and numpy alone; a model repository for Triton; "
        "the file of XGBoost or LightGBM, which takes features; or an OCI image of the version's "
        "files for KServe (scorer)",
    )
    add(
        "--unapproved",
        action="store_true",
        help="take a version that is named by its number although it was not approved",
    )
    add_store_options(command)
    command.set_defaults(command=_bundle)


def _bundle(options: argparse.Namespace) -> int:
    """Write a version as a folder that gives the server's answers, or scores, without Penstock."""
    from penstock.bundle.make import bundle

    tracking_uri, _ = store_of(options)
    uri = bundle(
        options.model,
        output=options.out,
        tracking_uri=tracking_uri,
        unapproved=options.unapproved,
        form=options.form,
    )
    told = {
        "scorer": f" Try it: python {options.out}/scorer.py < rows.jsonl",
        "modelcar": f" Push it: skopeo copy --all --preserve-digests oci:{options.out} docker://REGISTRY/NAME:TAG",
    }
    print(f"{uri} is in {options.out}.{told.get(options.form, '')}")
    return 0


def _score(options: argparse.Namespace) -> int:
    """Score every row of a table as the version's server would, and write where each one went.

    Rows are read as the model's training table was, and answered by the same runtime as the
    server's. A row that the server would refuse is refused here, never dropped in silence.
    """
    from penstock.data.engine import EngineSpec
    from penstock.data.engine.spec import MOST_WORKERS
    from penstock.scoring.score import Order, score

    if options.part_rows < 1:
        raise UsageError(
            f"{options.part_rows} rows in a part", where="--part-rows", remedy="Give 1 or more."
        )
    if not 0 < options.capture_sample <= 1:
        raise UsageError(
            f"{options.capture_sample:g} is not above 0 and at most 1",
            where="--capture-sample",
            remedy="Give the share of the rows, like 0.1; to capture none leave --capture out.",
        )
    if not 1 <= options.workers <= MOST_WORKERS:
        raise UsageError(f"{options.workers} processes", where="--workers")
    tracking_uri, _ = store_of(options)
    scores = score(
        Order(
            model=options.model,
            data=source_of(options),
            out=options.out,
            form=options.form,
            table=options.table,
            run=options.run,
            partition_by=_columns(options.partition_by),
            keep=_columns(options.keep),
            request_ids=options.request_ids,
            on_error=options.on_error,
            unseen=options.unseen,
            explain=options.explain,
            part_rows=options.part_rows,
            capture=options.capture,
            capture_sample=options.capture_sample,
            unapproved=options.unapproved,
            tracking_uri=tracking_uri,
            engine=EngineSpec(name=options.engine, workers=options.workers),
        )
    )
    print("\n".join(lines_of(scores)))
    return 0


def _columns(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for row in csv.reader(given) for name in row)


def source_of(options: argparse.Namespace) -> Any:
    """Return the source that a command's options name.

    Raises:
        UsageError: If a setting is none, or one that the model has.
    """
    from penstock.data.spec import SourceSpec

    given: dict[str, Any] = {"uri": options.data}
    if options.query:
        given["query"] = options.query
    elif "://" not in options.data and not _there(options.data):
        raise UsageError(
            f"there is no file {options.data!r}",
            where="--data",
            remedy="Name a file, a folder, a glob, a URL or a SQLAlchemy URL.",
        )
    given |= _settings(options.source)
    return SourceSpec.parse(given, where="--source")


def lines_of(scores: Scores) -> list[str]:
    """Return what a scoring did, in a few lines."""
    lines = [
        f"{scores.version.uri} ({scores.version.admitted}, {scores.version.runtime}) scored "
        f"{scores.scored:,} of {scores.rows:,} rows.",
        f"  rows in   {scores.input_content}",
        f"  rows out  {scores.output_content}",
        f"  written   {scores.destination}",
    ]
    for each in scores.refused:
        example = each.examples[0]
        column = f" by column {each.column!r}" if each.column else ""
        lines.append(
            f"  refused   {each.rows:,} rows{column}, first {example.where}: {example.reason}"
        )
    if scores.capture:
        lines.append(f"  captured  {scores.captured:,} rows: {scores.capture}")
    return lines


def _settings(texts: Sequence[str]) -> dict[str, Any]:
    from penstock.common.yaml_file import read_value

    settings = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if not mark:
            raise UsageError(f"no = in {text!r}", where="--source", remedy="Write FIELD=VALUE.")
        if name in ("uri", "query", "columns", "exclude", "types"):
            raise UsageError(
                f"{name} is not for --source: what is read follows from the model, --keep, --data "
                "and --query",
                where="--source",
                remedy="Leave it out.",
            )
        settings[name] = read_value(value, where=f"--source {name}")
    return settings


def _there(text: str) -> bool:
    from glob import glob

    return Path(text).exists() or bool(glob(text, recursive=True))  # noqa: PTH207
