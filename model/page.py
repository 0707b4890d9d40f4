"""Pages of HTML that stand alone.

Whatever is put into one is text unless it was made here, so that nothing a file is called can become part of the page.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOTICE = "Not a medical device. Not for diagnosis."

_VOID = frozenset({"meta", "img", "br"})
# Even a mistake in escaping could load nothing and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *content: str, **attributes: str | float) -> Markup:
    """An element.

    Parameters
    ----------
    name : str
        What it is called.
    *content : str
        What is in it: ``Markup`` as it is, any other text escaped.
    **attributes : str or float
        Their names with ``_`` for ``-``, and one behind a word that Python keeps for itself.

    Returns
    -------
    Markup
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_plain(value))}"' for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{pairs}>")
    return Markup(f"<{name}{pairs}>{join(content)}</{name}>")


def join(content: Iterable[str]) -> Markup:
    """Pieces of content behind each other, escaped where they are no ``Markup``."""
    return Markup("".join(piece if isinstance(piece, Markup) else html.escape(piece) for piece in content))


def _plain(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> Markup:
    """A table whose first ``words`` columns are words and whose others are numbers.

    Parameters
    ----------
    head : sequence of str
        Headings.
    rows : iterable of sequence of str
        Cells.
    words : int, optional
        How many columns are set to the left.

    Returns
    -------
    Markup
    """

    def line(kind: str, cells: Sequence[str]) -> Markup:
        return tag(
            "tr",
            *(tag(kind, cell, **({} if number < words else {"class_": "number"})) for number, cell in enumerate(cells)),
        )

    body = [line("td", row) for row in rows]
    return tag("div", tag("table", tag("thead", line("th", head)), tag("tbody", *body)), class_="wide")


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and values, a line each."""
    return tag("dl", *(join((tag("dt", name), tag("dd", value))) for name, value in pairs))


def section(title: str, *content: str) -> Markup:
    """A part of the page under a heading."""
    return tag("section", tag("h2", title), *content)


def page(title: str, *content: str) -> str:
    """A whole document.

    Parameters
    ----------
    title : str
        Of the window and of the page.
    *content : str
        What stands below the title.

    Returns
    -------
    str
        HTML in UTF-8, with the notice at its top and its end; it refers to nothing outside itself.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(_STYLE)),
    )
    notice = tag("p", NOTICE, class_="notice")
    body = tag("body", tag("main", tag("header", tag("h1", title), notice), *content, tag("footer", notice)))
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --tint: #f4f6f9;
  --normal: #2a6fb5; --pneumonia: #c2500a; --mark: #1c2430; --warn: #8a4b00; --warn-tint: #fff4e0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12161c; --ink: #e4e9f0; --soft: #9aa7b8; --line: #2e3743; --tint: #1a2028;
    --normal: #6cb2f2; --pneumonia: #f2995c; --mark: #e4e9f0; --warn: #ffcf85; --warn-tint: #33270f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 24px 40px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 10px; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 34px 0 10px; padding-bottom: 5px; border-bottom: 1px solid var(--line); }
h3 { font-size: 15px; margin: 18px 0 6px; }
p { margin: 8px 0; max-width: 76ch; }
.notice { display: inline-block; margin: 0 0 8px; padding: 4px 12px; border-radius: 4px; font-weight: 600;
  background: var(--warn-tint); color: var(--warn); }
.soft { color: var(--soft); font-size: 13px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 12px 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code { font: 13px/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; background: var(--tint);
  padding: 2px 5px; border-radius: 3px; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 18px 0 4px; }
.tile { background: var(--tint); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; }
.tile b { display: block; font-size: 30px; line-height: 1.2; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 8px 0; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: middle; }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
.number { text-align: right; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 14px 26px; }
.charts figure { max-width: 420px; }
figure { margin: 8px 0; }
figcaption { color: var(--soft); font-size: 13px; max-width: 60ch; }
figcaption b { color: var(--ink); display: block; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font-size: 11px; font-family: inherit; }
svg .strong { fill: var(--ink); font-size: 13px; font-weight: 600; }
.grid { stroke: var(--line); stroke-width: 1; fill: none; }
.axis { stroke: var(--soft); stroke-width: 1; fill: none; }
.dashed { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; fill: none; }
.curve { stroke: var(--normal); stroke-width: 2; fill: none; stroke-linejoin: round; }
.curve.second { stroke: var(--pneumonia); }
.whisker { stroke: var(--mark); stroke-width: 1.5; }
.dot { fill: var(--mark); }
.normal { fill: var(--normal); }
.pneumonia { fill: var(--pneumonia); }
.right { fill: var(--normal); }
.wrong { fill: var(--pneumonia); }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 5px 0 0; }
.key.normal { background: var(--normal); }
.key.pneumonia { background: var(--pneumonia); }
.under { display: block; color: var(--soft); font-size: 12px; }
.subgroups table { table-layout: fixed; min-width: 860px; }
.subgroups th:first-child { width: 21%; }
.subgroups th:nth-child(2), .subgroups th:nth-child(3) { width: 9%; }
.forest { width: 120px; min-width: 120px; }
.films { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 14px; }
.films figure { margin: 0; }
.films .film { height: 160px; background: #000; border-radius: 4px; display: flex; align-items: center;
  justify-content: center; overflow: hidden; }
.films img { max-width: 100%; max-height: 100%; }
.films figcaption { overflow-wrap: anywhere; line-height: 1.35; margin-top: 4px; }
footer { margin-top: 36px; border-top: 1px solid var(--line); padding-top: 14px; }
@media print { main { max-width: none; padding: 0; } section, figure { break-inside: avoid; } }
"""
