"""Make a database of known vulnerabilities of Python packages that osv-scanner reads offline.

    python scripts/offline_advisories.py advisory-database build/advisories

The first is a clone of pypa/advisory-database, which holds a YAML file for each vulnerability; the
second a folder for `osv-scanner --offline-vulnerabilities --local-db-path`. It knows what the clone
knows: nothing of Debian's packages, and nothing younger than the clone.
"""

from __future__ import annotations

import argparse
import json
import sys
import zipfile
from pathlib import Path

import yaml

from penstock.common import files

PLACE = Path("osv-scanner/PyPI/all.zip")
"""Where osv-scanner looks below its folder."""


def main() -> int:
    """Write the database whole, or leave the one that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clone", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    found = sorted((options.clone / "vulns").glob("*/*.yaml"))
    if not found:
        raise SystemExit(f"{options.clone} has no vulns/*/*.yaml: name a clone of the database")
    newest = ""
    with files.whole_folder(options.output) as folder:
        (folder / PLACE).parent.mkdir(parents=True)
        with zipfile.ZipFile(folder / PLACE, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in found:
                # Text alone, as the times of JSON are, and nothing that a loader would make of it.
                advisory = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CBaseLoader)  # noqa: S506
                newest = max(newest, advisory["modified"])
                archive.writestr(f"{advisory['id']}.json", json.dumps(advisory))
    print(f"{len(found)} advisories, the newest of {newest}, in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
