"""The rates as a picture: a panel for each kind of film, two bars for each system, with the spread of the rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.peers.verdict import OURS, RECEIVER, line_of, rate, senders_of, short
from benchmarks.soak.picture import FAINT, GRID, INK

if TYPE_CHECKING:
    from pathlib import Path

PANEL, GAP, HEAD, NAMES, ROW, BAR = 640, 36, 96, 210, 50, 19
OUR_COLOURS, THEIR_COLOURS = ((120, 170, 215), (0, 90, 160)), ((205, 205, 205), (150, 150, 150))


def draw(path: Path, report: dict[str, Any]) -> None:
    """Write the picture of a report."""
    kinds, systems, both = report["kinds"], report["systems"], senders_of(report)
    height = HEAD + 2 * (len(systems) * ROW + 60) + GAP
    sheet = Image.new("RGB", (2 * PANEL + 3 * GAP, height), "white")
    pen, small = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    pen.text((GAP, 20), "Studies a second, from C-STORE to the committed row", INK, ImageFont.load_default(20))
    said = (
        f"{report['date']}, {report['machine']}. Upper bar {both[0]} sender, lower {both[-1]}; line: least to most of "
    )
    pen.text((GAP, 52), f"{said}{report['rounds']} rounds", FAINT, small)
    for number, kind in enumerate(kinds):
        corner = GAP + (number % 2) * (PANEL + GAP), HEAD + (number // 2) * (len(systems) * ROW + 60)
        _panel(pen, corner, report, kind)
    sheet.quantize(64).save(path, "PNG", optimize=True)


def _panel(pen: ImageDraw.ImageDraw, corner: tuple[int, int], report: dict[str, Any], kind: dict[str, Any]) -> None:
    small, (x, y) = ImageFont.load_default(13), corner
    pen.text((x, y), f"{kind['title']}, {short(kind['megabytes'])} MB", INK, ImageFont.load_default(15))
    senders = senders_of(report)
    found = {
        (system["key"], count): rate(line)
        for system in report["systems"]
        for count in senders
        if (line := line_of(report, system["key"], kind["key"], count))
    }
    # Receiving alone can be so much faster that all others would be too short to see.
    highest, left = max(each.most for (system, _), each in found.items() if system != RECEIVER), x + NAMES
    across = (PANEL - NAMES - 90) / highest
    for place, system in enumerate(report["systems"]):
        top = y + 32 + place * ROW
        pen.line([(left, top - 5), (x + PANEL, top - 5)], GRID)
        pen.text((left - 10, top + BAR), system["title"], INK, small, anchor="rm")
        for number, count in enumerate(senders):
            if each := found.get((system["key"], count)):
                colour = (OUR_COLOURS if system["key"] == OURS else THEIR_COLOURS)[number]
                bar = top + number * (BAR + 1)
                least, median, most = (across * min(value, highest) for value in (each.least, each.median, each.most))
                pen.rectangle([left, bar, left + median, bar + BAR - 2], colour)
                middle = bar + BAR // 2 - 1
                if each.median <= highest:
                    pen.line([(left + least, middle), (left + most, middle)], INK, 2)
                beyond = "" if each.median <= highest else ", beyond"
                pen.text((left + most + 8, middle), short(each.median) + beyond, INK, small, anchor="lm")
        if not any(key == system["key"] for key, _ in found):
            pen.text((left + 8, top + BAR), "not sent", FAINT, small, anchor="lm")
