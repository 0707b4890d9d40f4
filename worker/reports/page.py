"""The frame of every page, and what pages are made of: tables, facts and headings, all escaped.

A page holds no script and loads nothing. It says at its top and its end that Auscult is not a medical device.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup

from model.notice import NOTICE
from model.reports.style import style_sheet
from model.reports.svg import join, tag, void
from worker.reports.words import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

#: Even a mistake in escaping could load nothing and run nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def styles() -> str:
    """The style of the reports of models, and behind it what pages about studies add."""
    return style_sheet() + files("worker.reports").joinpath("style.css").read_text(encoding="utf-8")


def page(title: str, kind: str, made_at: datetime, *content: str) -> str:
    """Write a page.

    Parameters
    ----------
    title : str
        Of the window; without patient data, since browsers keep it.
    kind : str
        What the page is, in two or three words.
    made_at : datetime
        When its data were read.
    *content : str
        What the page says, with exactly one ``h1``.
    """
    head = tag(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=POLICY),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(styles())),  # noqa: S704 - two files of the packages
    )
    notice = tag("p", NOTICE, class_="notice")
    by = f"Auscult {version('auscult')}, made {moment(made_at)}"
    body = tag(
        "body",
        tag("header", tag("p", tag("b", "Auscult"), " ", kind, class_="brand"), notice, class_="bar"),
        tag("main", *content),
        tag("footer", notice, tag("p", by, class_="soft"), class_="bar"),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def section(heading: str, *content: str, class_: str = "part") -> Markup:
    """A part of a page under a heading of the second level."""
    return tag("section", tag("h2", heading), *content, class_=class_)


def facts(pairs: Iterable[tuple[str, str | None]]) -> Markup:
    """Names and values; a value that is missing or empty is left out with its name."""
    return tag("dl", *(tag("dt", name) + tag("dd", value) for name, value in pairs if value))


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1, is_narrow: bool = False
) -> Markup:
    """A table; the first cell of each row names the row.

    Parameters
    ----------
    caption : str
        What the table shows.
    head : sequence of str
        Names of the columns.
    rows : iterable of sequence of str
        Cells, as many as columns.
    words : int, optional
        How many of the first columns hold words; the others hold numbers and are set to the right.
    is_narrow : bool, optional
        Whether the table is too small to fill the page.
    """

    def class_of(number: int) -> str:
        return "number" if number >= words else "words"

    top = tag("tr", *(tag("th", name, scope="col", class_=class_of(number)) for number, name in enumerate(head)))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=class_of(number)) for number, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    whole = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body))
    # A region with a name can be reached and scrolled by keyboard where the table is wider than the screen.
    return tag(
        "div", whole, class_="wide narrow" if is_narrow else "wide", role="region", aria_label=caption, tabindex="0"
    )


def uid(value: str) -> Markup:
    """A UID, which may be broken anywhere; codes may not, as a broken code reads as two."""
    return tag("span", value, class_="uid")


def paragraphs(sentences: Iterable[str], class_: str = "") -> Markup:
    """Each sentence in a paragraph of its own."""
    return join([tag("p", sentence, class_=class_) if class_ else tag("p", sentence) for sentence in sentences])
