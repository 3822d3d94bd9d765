"""The report page: escaping, structure, contrast, no way out to the network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from itertools import product

import pytest

from penstock import __version__
from penstock.reports.page import (
    Cell,
    Section,
    badge,
    by_width,
    figure,
    heading,
    muted,
    page,
    paragraph,
    preformatted,
    row,
    table,
)

EVIL = "<script>alert(1)</script> & \"quotes\" 'too'"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Outline(HTMLParser):
    """Collects elements, ids and text, and fails on an element that is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def example(**changes) -> str:
    fields = {
        "title": EVIL,
        "kind": "Validation",
        "status": "bad",
        "verdict": EVIL,
        "facts": [("Rows", "12"), (EVIL, EVIL), ("Data version", "sha256:" + "ab" * 32)],
        "sections": [
            Section(
                title=EVIL,
                lead=EVIL,
                body=table([EVIL, "n"], [[EVIL, Cell(EVIL, tone="warn")]], numeric=[1]),
            ),
            Section(title="More", body=paragraph(EVIL) + preformatted(EVIL) + badge(EVIL, "good")),
        ],
    }
    return page(**(fields | changes))


def test_text_is_escaped_wherever_it_comes_in() -> None:
    html = example()
    seen = Outline(html)
    assert "script" not in seen.tags
    assert "<script" not in html
    # title element, h1, verdict, fact twice, h2, lead, th, td, cell, p, pre, badge
    assert seen.text.count(EVIL) == 13


def test_page_is_whole_semantic_and_labelled() -> None:
    seen = Outline(example())
    for tag in ("html", "title", "header", "main", "section", "footer", "h1", "h2", "dl", "th"):
        assert tag in seen.tags
    assert ("lang", "en") in seen.attributes
    assert ("content", "light dark") in seen.attributes
    assert ("content", "width=device-width, initial-scale=1") in seen.attributes
    ids = {value for key, value in seen.attributes if key == "id"}
    labels = {value for key, value in seen.attributes if key == "aria-labelledby"}
    assert labels <= ids
    assert f"Penstock {__version__}" in seen.text


def test_page_reaches_for_nothing() -> None:
    html = example()
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=\"(?!#)|url\(|@import|https?://", html)


def test_same_input_gives_the_same_page() -> None:
    assert example() == example()


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        ("Validation", "good", "Passed"),
        ("Validation", "bad", "Failed"),
        ("Decision", "good", "Approved"),
        ("Decision", "bad", "Refused"),
        ("Rollout", "good", "Promoted"),
        ("Rollout", "bad", "Rolled back"),
    ],
)
def test_verdict_says_it_in_a_word(kind: str, status: str, word: str) -> None:
    assert f"<strong>{word}</strong>" in example(kind=kind, status=status)


def test_plain_page_does_not_judge() -> None:
    html = example(status="plain", verdict="Six columns.")
    assert '<div class="verdict plain"><p>Six columns.</p></div>' in html


def test_a_notice_comes_before_the_verdict() -> None:
    assert 'class="notice"' not in example()
    html = example(notice=EVIL)
    assert Outline(html).text.count(EVIL) == 14
    assert html.index('class="notice"') < html.index('class="verdict')


def test_parts_of_a_section_are_escaped() -> None:
    assert Outline(heading(EVIL) + muted(EVIL)).text.count(EVIL) == 2


def test_one_of_two_pieces_is_shown() -> None:
    css = resources.files("penstock.reports").joinpath("page.css").read_text()
    html = by_width(wide="<p>wide</p>", narrow="<p>narrow</p>")
    assert html == (
        '<div class="if-wide"><p>wide</p></div><div class="if-narrow"><p>narrow</p></div>\n'
    )
    # Hidden from everybody, a screen reader too, and the wide one is printed.
    assert ".if-narrow { display: none; }" in css
    assert re.search(r"@media screen and \(max-width: 48rem\) \{\s+\.if-wide \{ display: none", css)


def test_contents_come_with_more_than_three_sections() -> None:
    parts = [Section(title=f"Part {n}", body="") for n in range(1, 5)]
    assert "<nav" not in example(sections=parts[:3])
    html = example(sections=parts)
    for number in range(1, 5):
        assert f'href="#part-{number}"' in html
        assert f'id="part-{number}"' in html


def test_date_is_repeated_in_the_footer() -> None:
    html = example(facts=[("Date", "2026-11-20")])
    assert f"<footer>Penstock {__version__}, 2026-11-20</footer>" in html


def test_digest_is_set_as_code_on_a_line_of_its_own() -> None:
    digest = "xxh3-128:" + "0f" * 16
    html = example(facts=[("Data version", digest), ("Rows", "12")])
    assert f"<code>{digest}</code>" in html
    assert html.index("Rows") < html.index("Data version")


def test_table_refuses_a_ragged_row() -> None:
    with pytest.raises(ValueError, match="row 1 has 1 cells under 2 headers"):
        table(["a", "b"], [["1", "2"], ["3"]])


def test_table_scrolls_in_a_box_that_takes_the_keyboard() -> None:
    html = table(["a", "b"], [["1", Cell("2", tone="bad", strong=True)]], numeric=[1])
    assert '<div class="scroll" role="region" tabindex="0" aria-label="Table: a, b">' in html
    assert '<td class="number strong"><span class="badge bad">2</span></td>' in html


def test_figure_keeps_the_drawing_and_drops_its_prolog() -> None:
    html = row(
        figure('<?xml version="1.0"?>\n<svg id="x"><path/></svg>', caption="A < B"), paragraph("p")
    )
    assert "<?xml" not in html
    assert '<svg id="x"><path/></svg><figcaption>A &lt; B</figcaption>' in html
    with pytest.raises(ValueError, match="no <svg> element"):
        figure("<p>no drawing</p>", caption="")


def colours(scheme: str) -> dict[str, tuple[int, ...]]:
    css = resources.files("penstock.reports").joinpath("page.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    found = dict(re.findall(r"--([\w-]+): #([0-9a-f]{6})", light if scheme == "light" else dark))
    return {name: tuple(bytes.fromhex(value)) for name, value in found.items()}


def luminance(colour: tuple[int, ...]) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_aa_asks_for(scheme: str) -> None:
    of = colours(scheme)
    pairs = list(
        product(["ink", "muted", "accent", "accent-2", "good", "bad", "warn"], ["page", "surface"])
    )
    pairs += [(tone, f"{tone}-soft") for tone in ("accent", "good", "bad", "warn")]
    pairs += [("ink", f"{tone}-soft") for tone in ("good", "bad", "warn")] + [("ink", "line")]
    for text, ground in pairs:
        high, low = sorted((luminance(of[text]), luminance(of[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}, {scheme}"
