"""The commands on rows that a model left to people: `penstock review list|answer`."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from penstock.errors import InputError, ServiceError, UsageError
from penstock.pipelines.captures_commands import source_of
from penstock.pipelines.located import Located, add_project_argument, locate

if TYPE_CHECKING:
    from penstock.records.model import Abstention, Label


def add_review_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser of `penstock`."""
    review = commands.add_parser("review", help="rows that the model left to people")
    actions = review.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="show what waits", description=_list.__doc__)
    listing.add_argument(
        "--limit", type=int, default=20, metavar="ROWS", help="rows to show (%(default)s)"
    )
    listing.add_argument("--json", action="store_true", help="a line of JSON for each row")
    listing.set_defaults(command=_list)
    answer = actions.add_parser("answer", help="decide a row", description=_answer.__doc__)
    answer.add_argument("request", metavar="ID", help="of its request")
    answer.add_argument("label", metavar="LABEL", help="what it truly is")
    answer.add_argument(
        "--row", type=int, default=0, metavar="N", help="its index there (%(default)s)"
    )
    answer.set_defaults(command=_answer)
    for action in (listing, answer):
        add_project_argument(action)
        action.add_argument(
            "--at", default="", metavar="ADDRESS", help="the captures of this folder or address"
        )


def _list(options: argparse.Namespace) -> int:
    """Show the captured rows that the model left to people and that have no label yet."""
    from penstock.captures.review import queue_of

    found = locate(options.project)
    if options.limit < 1:
        raise UsageError("at least one row is to be shown", where="--limit")
    queue = queue_of(source_of(options, found), _band(found), limit=options.limit)
    for one in queue.waiting:
        if options.json:
            print(json.dumps(vars(one), default=str, ensure_ascii=False))
        else:
            # Clients wrote them: a line break would look like another row.
            inputs = " ".join(f"{name}={value!r}" for name, value in one.inputs.items())
            print(f"{one.request} row {one.row}  {one.time}  {one.score:.4f}  {inputs}")
    if not options.json:
        print(f"{queue.total:,} rows wait, {queue.answered:,} of the band have their label.")
        if queue.lost:
            print(f"  {queue.lost:,} captured rows are gone, and whoever waited among them")
    return 0


def _answer(options: argparse.Namespace) -> int:
    """Decide a row: what a person says of it becomes its true label.

    A local service that runs takes it as any label; where rows were shipped to a store, or
    captured by a batch, it is written beside them.
    """
    from penstock.captures.places import place_at
    from penstock.captures.review import label_of
    from penstock.captures.stores import writers

    found = locate(options.project)
    source = source_of(options, found)
    label = label_of(source, options.label)
    if any(each.shipped for each in writers(place_at(source), kinds=["predictions"])):
        done = _written(source, options, label)
    else:
        done = _sent(found, options, label)
    if not done:
        raise InputError(
            f"row {options.row} of {options.request!r} has its label already, or was not captured",
            where=str(source),
            remedy="penstock review list shows what waits.",
        )
    print(f"Row {options.row} of {options.request} is {label!r}.")
    return 0


def _written(source: str | Path, options: argparse.Namespace, label: Label) -> int:
    from penstock.captures.labels import LabelColumns, label_rows
    from penstock.data.spec import SourceSpec

    with TemporaryDirectory(prefix="penstock-review-") as folder:
        table = Path(folder) / "answer.csv"
        with table.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(
                [["request_id", "row", "label"], [options.request, options.row, label]]
            )
        columns = LabelColumns(request="request_id", label="label", row="row")
        return label_rows(source, SourceSpec(uri=str(table)), columns).written


def _sent(found: Located, options: argparse.Namespace, label: Label) -> int:
    import httpx

    from penstock.rollout.backends.local.services import status

    name = found.project.name
    served = [one for one in status(found.home) if one.service == name and one.running]
    if not served:
        raise UsageError(
            "the service that captured the row does not run, and takes no label",
            where=name,
            remedy=f"Serve it: penstock run {options.project or 'project.yaml'}",
        )
    url = f"{served[0].url}/v1/models/{name}:feedback"
    entry = {"request_id": options.request, "row": options.row, "label": label}
    try:
        with httpx.Client(trust_env=False, timeout=30) as client:
            answered = client.post(url, json={"labels": [entry]})
        if answered.status_code == 404:
            return 0
        answered.raise_for_status()
        return int(answered.json().get("joined", 0))
    except (httpx.HTTPError, ValueError) as error:
        raise ServiceError(f"the service did not take the label: {error}", where=url) from error


def _band(found: Located) -> Abstention:
    from penstock.gate.rules.business_value import RULE

    cost = RULE.of(found.project.gate)
    band = None if cost is None else cost.abstention()
    if band is None:
        raise UsageError(
            "the model decides every row: nothing says what a person's decision costs",
            where="gate.cost.review",
            remedy="Set it beside gate.cost.matrix, and train again; docs/human-review.md.",
        )
    return band
