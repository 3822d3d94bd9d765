"""Take the tutorial's pictures again: docs/images/*.png, from the run that the tutorial leads to.

Does what docs/tutorial.md says, in a folder of its own, and photographs five reports with headless
Chromium. Run it when a report has changed, look at each picture, and compare the tutorial's
descriptions of them with what they show.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
PENSTOCK = Path(sys.executable).with_name("penstock")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

PLACE = Path(tempfile.gettempdir()) / "penstock-tutorial"
"""Where the tutorial is followed: the reports show paths, so they are to be short and the same."""

PROJECT = "example/project.yaml"
PICTURES = {
    "data": ("first", "validation", 1240, 860),
    "training": ("first", "training", 960, 1120),
    "decision": ("first", "decision", 960, 900),
    "canary": ("second", "rollout", 960, 1000),
}
"""Of each picture: the run, its page, width and height in pixels."""

COLOURS = 48
"""Enough for letters on plain ground; a picture takes half the bytes."""


def main() -> int:
    """Follow the tutorial and take the pictures; exit with 1 if something is not as it tells."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"No browser is here to take pictures: install one of {BROWSERS}")
    if PLACE.exists():
        raise SystemExit(f"{PLACE} is there already: end what it serves, and remove it")
    PLACE.mkdir()
    try:
        _penstock("example", "example", code=0)
        _penstock("run", PROJECT, code=0)
        _penstock("run", PROJECT, "--demo", "bad-candidate", code=4)
        home = PLACE / "example" / ".penstock"
        runs = dict(zip(("first", "second"), sorted((home / "runs").iterdir()), strict=True))
        for name, (run, page, width, height) in PICTURES.items():
            _take(browser, runs[run] / "reports" / f"{page}.html", name, width, height)
        _take(browser, home / "index.html", "index", 1120, 2010)
    finally:
        subprocess.run([PENSTOCK, "stop", PROJECT], cwd=PLACE, check=False)
        shutil.rmtree(PLACE)
    return 0


def _penstock(*arguments: str, code: int) -> None:
    """Run a command of the tutorial, which has to end as it says there."""
    done = subprocess.run([PENSTOCK, *arguments], cwd=PLACE, check=False)
    if done.returncode != code:
        raise SystemExit(f"penstock {' '.join(arguments)}: {done.returncode}, not {code}")


def _take(browser: str, page: Path, name: str, width: int, height: int) -> None:
    """Write the upper part of a page to docs/images/NAME.png."""
    output = IMAGES / f"{name}.png"
    shot = PLACE / f"{name}.png"
    # Chromium refuses its sandbox to root, and these pages are our own, without script.
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    subprocess.run(
        [
            browser, "--headless", *root, "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={PLACE / 'browser'}", f"--window-size={width},{height}",
            f"--screenshot={shot}", page.as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    with Image.open(shot) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(output, optimize=True)
    print(f"{output}: {output.stat().st_size:,} bytes, {width} x {height}")


if __name__ == "__main__":
    sys.exit(main())
