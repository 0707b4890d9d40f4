"""The table as a picture: time over size, both in powers of ten, a line for each statement."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.soak.picture import COLOURS, FAINT, GRID, INK

if TYPE_CHECKING:
    from pathlib import Path

SIZE, LEFT, RIGHT, TOP, BOTTOM = (1180, 640), 80, 400, 70, 70
#: Powers of ten.
LOWEST_MS, HIGHEST_MS = 0, 2


def draw(path: Path, title: str, report: dict[str, Any]) -> None:
    """Write the picture of a report of `benchmarks.sql.run`."""
    sheet = Image.new("RGB", SIZE, "white")
    pen, small = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    sizes = report["sizes"]
    highest = max(HIGHEST_MS, *(math.ceil(math.log10(max(row["ms"]))) for row in report["rows"]))
    low, high = math.log10(sizes[0]), max(math.log10(sizes[-1]), math.log10(sizes[0]) + 1)

    def at(size: float, ms: float) -> tuple[float, float]:
        across = (math.log10(size) - low) / (high - low)
        up = (math.log10(max(ms, 10**LOWEST_MS)) - LOWEST_MS) / (highest - LOWEST_MS)
        return LEFT + across * (SIZE[0] - LEFT - RIGHT), SIZE[1] - BOTTOM - up * (SIZE[1] - TOP - BOTTOM)

    pen.text((LEFT, 24), title, INK, ImageFont.load_default(20))
    for power in range(LOWEST_MS, highest + 1):
        pen.line([at(sizes[0], 10**power), at(10**high, 10**power)], GRID)
        pen.text((LEFT - 8, at(sizes[0], 10**power)[1]), f"{10.0**power:g} ms", FAINT, small, anchor="rm")
    for size in sizes:
        x, y = at(size, 10**LOWEST_MS)
        pen.text((x, y + 10), f"{size:,} studies", FAINT, small, anchor="ra" if size == sizes[-1] else "ma")
    ends = []
    for number, row in enumerate(report["rows"]):
        points = [at(size, ms) for size, ms in zip(sizes, row["ms"], strict=True)]
        colour = COLOURS[number % len(COLOURS)]
        pen.line(points, colour, 2)
        for x, y in points:
            pen.ellipse([x - 3, y - 3, x + 3, y + 3], colour)
        ends.append((points[-1], colour, f"{row['name']}: {row['ms'][-1]:.3g} ms"))
    _name(pen, ends)
    sheet.quantize(64).save(path, "PNG", optimize=True)


def _name(pen: ImageDraw.ImageDraw, ends: list[tuple[tuple[float, float], tuple[int, int, int], str]]) -> None:
    """Write the names beside the ends of the lines, below each other where lines end close together."""
    small, line = ImageFont.load_default(13), 17
    ends = sorted(ends, key=lambda end: end[0][1])
    places: list[float] = []
    for (_, end_y), _, _ in ends:
        places.append(max(end_y, places[-1] + line) if places else end_y)
    lowest = float(SIZE[1] - line)
    for number in reversed(range(len(places))):
        places[number] = min(places[number], lowest)
        lowest = places[number] - line
    for ((x, end_y), colour, text), y in zip(ends, places, strict=True):
        pen.line([(x + 5, end_y), (x + 25, y)], colour, 1)
        pen.text((x + 30, y), text, colour, small, anchor="lm")
