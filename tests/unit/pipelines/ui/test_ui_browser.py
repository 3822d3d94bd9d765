"""The page in a browser: what Chromium shows of the real server is what the records say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from needs import program
from PIL import Image
from running_process import served
from whole_life import project_in

from penstock.pipelines.located import Located
from penstock.pipelines.ui.page import project_page
from penstock.pipelines.ui.seen import see
from penstock.pipelines.ui.server import serving

Look = Callable[..., str]


class Outline(HTMLParser):
    """Headings with their levels, the cells of the rows of each section's tables, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.regions = self.tables = 0
        self.sections: dict[str, list[str]] = {}
        self._title = ""
        self._in: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in.append(tag)
        if tag[0] == "h" and tag[1:].isdigit():
            self.levels.append(int(tag[1:]))
        self.tables += tag == "table"
        self.regions += ("role", "region") in attrs and any(
            name == "aria-label" and value for name, value in attrs
        )

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if "h2" in self._in:
            self._title = text
        elif text and "style" not in self._in:
            self.sections.setdefault(self._title, []).append(text)


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Serves a project, and returns what a browser has of it: the document, or a picture."""
    browser = program("chromium", package="chromium")

    def seen(project: Located, *options: str) -> str:
        def render() -> str:
            return project_page(see(project), live=True)

        with serving(project.home, name="loans", port=0, render=render) as server, served(server):
            # Chromium refuses its sandbox to root, and these pages are our own, without script.
            root = ["--no-sandbox"] if os.geteuid() == 0 else []
            done = subprocess.run(
                [
                    browser, "--headless", *root, "--disable-gpu", "--disable-dev-shm-usage",
                    f"--user-data-dir={tmp_path / 'browser'}", *options,
                    f"http://127.0.0.1:{server.server_address[1]}/?refresh=0",
                ],
                check=True, capture_output=True, text=True, timeout=120,
            )  # fmt: skip
        return done.stdout

    return seen


def outline(html: str) -> Outline:
    found = Outline()
    found.feed(html)
    return found


@pytest.mark.long
def test_a_browser_shows_every_section_of_a_whole_life(whole: Located, look: Look) -> None:
    found = outline(look(whole, "--dump-dom"))
    shown = {title: " ".join(text) for title, text in found.sections.items()}
    for title, said in {
        "": "The monitor's verdict is drifted: Look 3 was drifted.",
        "Service": "Read at the date above",
        "Monitor": "Look 1 was healthy.",
        "Guardian": "Version 2 is held against version 1",
        "Versions": "boosting (depth=2), on rows1:01234567, roc_auc 0.812 (0.800 to 0.824)",
        "Champion": "The alias champion names version 2.",
        "Canaries": "It failed too many requests.",
        "Captures": "version-2",
        "Decisions": "refused",
        "Runs and reports": "The gate refused it.",
    }.items():
        assert said in shown[title], title
    # No level is left out on the way down, and every table has a name for a screen reader.
    assert found.levels[0] == 1
    assert all(b <= a + 1 for a, b in zip(found.levels, found.levels[1:], strict=False))
    assert found.tables == found.regions > 8


def test_a_browser_shows_a_home_without_anything(tmp_path: Path, look: Look) -> None:
    shown = {
        title: " ".join(text)
        for title, text in outline(look(project_in(tmp_path), "--dump-dom")).sections.items()
    }
    assert "Nothing is being served." in shown[""]
    assert shown["Versions"] == "No version has been registered yet."
    assert shown["Runs and reports"].startswith("Nothing has run on this machine yet.")


@pytest.mark.long
def test_nothing_of_it_is_beside_a_telephone(whole: Located, look: Look, tmp_path: Path) -> None:
    picture = tmp_path / "narrow.png"
    look(whole, "--hide-scrollbars", f"--screenshot={picture}", "--window-size=500,1500")
    with Image.open(picture) as image:
        wide = image.convert("RGB")
    # The ground of the page is all that is right of the sections: none of them reaches the edge.
    edge = {wide.getpixel((wide.width - 1, y)) for y in range(0, wide.height, 5)}
    assert len(edge) == 1
    middle = {wide.getpixel((wide.width // 2, y)) for y in range(0, wide.height, 5)}
    assert len(middle) > 2
