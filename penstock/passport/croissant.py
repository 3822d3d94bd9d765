"""The training part as Croissant: what machines that look for datasets read.

Format: MLCommons, "Croissant Format Specification" 1.0.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from penstock.passport.facts import UNKNOWN, Facts, sentences
from penstock.records.dataset import Dataset, ProfiledColumn

_TYPES = {
    "integer": "sc:Integer",
    "number": "sc:Float",
    "boolean": "sc:Boolean",
    "string": "sc:Text",
    "datetime": "sc:DateTime",
}

# The context of the specification, as its examples have it.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(facts: Facts) -> str | None:
    """Return the training part's metadata as JSON-LD; None if its record was not kept.

    The rows are not in the evidence: the files are named as ingest and split write them.

    Args:
        facts: What the evidence says.
    """
    record = facts.train
    if record is None:
        return None
    found = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": f"{facts.version.name}-training-part",
        "description": _description(facts, record),
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": facts.owner.license or UNKNOWN,
        "url": record.source,
        # Versions are three numbers there, so the digest stands where a reader cites the data.
        "version": "1.0.0",
        "citeAs": f"{facts.version.name}, training part, {record.content}",
        "datePublished": f"{record.created:%Y-%m-%d}",
        "identifier": [f"{what} {digest}" for what, digest in facts.digests.items()],
        "isBasedOn": record.version,
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "files",
                "name": "files",
                "description": f"{len(record.files)} Parquet files",
                "encodingFormat": "application/vnd.apache.parquet",
                "includes": "*.parquet",
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "rows",
                "name": "rows",
                "field": [_field(column, rows=record.rows) for column in record.columns],
            }
        ],
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _description(facts: Facts, record: Dataset) -> str:
    remarks = facts.split.remarks() if facts.split is not None else ()
    counted = f"{record.rows:,} rows, from which {facts.version.uri} was trained"
    return sentences((counted, *record.notes, *remarks))


def _field(column: ProfiledColumn, *, rows: int) -> dict[str, Any]:
    profile = column.profile
    return {
        "@type": "cr:Field",
        "@id": f"rows/{quote(column.name, safe='')}",
        "name": column.name,
        "description": f"{profile.distinct:,} different values, {profile.nulls:,} of {rows:,} "
        "missing.",
        "dataType": _TYPES[column.type],
        "source": {"fileSet": {"@id": "files"}, "extract": {"column": column.name}},
    }
