"""Where the images of the components are: the one place that says so."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import penstock
from penstock.errors import InputError

Image = Literal["data", "train", "deploy", "serving", "monitor", "score", "feast"]

_SELDOM = ("feast",)
"""Images that `make images` and `make push` leave out: whoever needs one makes it by its name."""

_PUSHED = Path(__file__).resolve().parent.parent / "images" / "digests.json"


def image(name: Image) -> str:
    """Return the reference of one image of the family; the first of these that there is.

    1. `PENSTOCK_IMAGE_<NAME>`: one image's whole reference, for example with a digest.
    2. `PENSTOCK_IMAGE_PREFIX`: where all are, for example a private registry; the tag is
       Penstock's version.
    3. The digest file: `PENSTOCK_IMAGE_DIGESTS`, else images/digests.json of a checkout, which
       `make push` writes. A digest names the very image that was pushed.
    4. `penstock/<name>`, tagged with Penstock's version: what `make images` builds.

    Kubeflow's cache key holds the image and not the library inside, so a tag that moves would serve
    stale results.

    Raises:
        InputError: If the digest file cannot be read, or is of another version of Penstock.
    """
    whole = os.environ.get(f"PENSTOCK_IMAGE_{name.upper()}", "")
    if whole:
        return whole
    prefix = os.environ.get("PENSTOCK_IMAGE_PREFIX", "").rstrip("/")
    if prefix:
        return f"{prefix}/{name}:{penstock.__version__}"
    return _pushed(name) or f"penstock/{name}:{penstock.__version__}"


def _pushed(name: Image) -> str:
    given = os.environ.get("PENSTOCK_IMAGE_DIGESTS", "")
    path = Path(given) if given else _PUSHED
    if not given and not path.exists():
        return ""
    try:
        digests = json.loads(path.read_text(encoding="utf-8"))
        version, images = digests["version"], digests["images"]
        reference = images.get(name, "") if name in _SELDOM else images[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the digest file cannot be read: {error!r}",
            where=str(path),
            remedy="Write it again with: make push REGISTRY=...",
        ) from error
    if version != penstock.__version__:
        raise InputError(
            f"the digest file is of Penstock {version}, this is {penstock.__version__}",
            where=str(path),
            remedy="Push the images of this version (make push REGISTRY=...), or delete the file.",
        )
    return str(reference)
