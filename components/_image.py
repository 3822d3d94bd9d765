"""Where the images of the components are."""

from __future__ import annotations

import os
from typing import Literal

import penstock

Image = Literal["data", "train", "deploy", "serving"]


def image(name: Image) -> str:
    """Return the reference of one image of the family.

    The tag is Penstock's version: Kubeflow's cache key holds the image and not the library inside,
    so a tag that moves would serve stale results. `PENSTOCK_IMAGE_PREFIX` names another place, for
    example a private registry; `PENSTOCK_IMAGE_<NAME>` gives one image's whole reference, for
    example with a digest.
    """
    whole = os.environ.get(f"PENSTOCK_IMAGE_{name.upper()}", "")
    if whole:
        return whole
    prefix = os.environ.get("PENSTOCK_IMAGE_PREFIX", "penstock").rstrip("/")
    return f"{prefix}/{name}:{penstock.__version__}"
