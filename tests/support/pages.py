"""Pages of HTML as a test reads them: their elements in order, and the words of each."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import pairwise

VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})


@dataclass(slots=True)
class Element:
    """An element, the names of those around it, and all the words in it."""

    name: str
    attributes: dict[str, str | None]
    around: tuple[str, ...]
    words: str = ""


class Page(HTMLParser):
    """A page that was read; an element that is closed in the wrong order, or not at all, fails."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.open: list[Element] = []
        self.declarations: list[str] = []

    def handle_decl(self, decl: str) -> None:
        self.declarations.append(decl)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        element = Element(tag, dict(attrs), tuple(above.name for above in self.open))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open[-1].name == tag, (self.open[-1].name, tag)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.words += data

    def all(self, *names: str) -> list[Element]:
        """The elements of these names, in order."""
        return [element for element in self.elements if element.name in names]

    def one(self, name: str) -> Element:
        """The only element of this name."""
        (found,) = self.all(name)
        return found

    @property
    def text(self) -> str:
        """What the page says, in single spaces."""
        return " ".join(self.one("main").words.split())


def read_page(html: str) -> Page:
    """Read a page; fails where elements are not nested as HTML asks."""
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def check_accessible(page: Page) -> None:
    """Check the structure that screen readers need: language, title, order of headings, names of pictures and tables."""
    assert page.declarations == ["DOCTYPE html"]
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("title" if len(page.all("title")) == 1 else "head").words.strip()
    levels = [int(heading.name[1]) for heading in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert [part.name for part in page.all("header", "main", "footer")] == ["header", "main", "footer"]
    for picture in page.all("img"):
        assert picture.attributes["alt"]
    for drawing in page.all("svg"):
        assert drawing.attributes.get("aria-hidden") == "true" or (
            drawing.attributes["role"] == "img" and drawing.attributes["aria-label"]
        )
    for head in page.all("th"):
        assert head.attributes["scope"] in {"col", "row"}
        assert head.words.strip()
    assert len(page.all("caption")) == len(page.all("table"))
    for caption in page.all("caption"):
        assert caption.words.strip()
    # Wider than the screen: to be scrolled by keyboard too.
    for region in page.elements:
        if region.attributes.get("role") == "region":
            assert region.attributes["aria-label"]
            assert region.attributes["tabindex"] == "0"


def check_alone(html: str, page: Page) -> None:
    """Check that a page loads nothing, runs nothing and says so to the browser."""
    assert not page.all("script", "link", "iframe", "object", "form", "base")
    assert not [name for element in page.elements for name in element.attributes if name.startswith("on")]
    policy = [meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert all((picture.attributes["src"] or "").startswith("data:image/png;base64,") for picture in page.all("img"))
    assert not [element for element in page.elements if "href" in element.attributes]
    assert "@import" not in html
    assert "url(" not in html
