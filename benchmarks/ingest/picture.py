"""Objects a second and CPU an object over the number of associations: a panel for each size, a line for each receiver."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.ingest.tables import OURS, STORESCP, TITLES, UNHASHED, line_of
from benchmarks.soak.picture import FAINT, GRID, INK

if TYPE_CHECKING:
    from pathlib import Path

PANEL, GAP, HEAD, LEFT, BOTTOM, TOP = (400, 270), 26, 110, 56, 46, 34
LINES = {STORESCP: (110, 110, 110), OURS: (0, 90, 160), UNHASHED: (120, 170, 215)}
#: The measures, and what a panel of each is called.
MEASURES = {"objects_per_s": "objects a second", "cpu_ms": "CPU ms an object"}


def draw(path: Path, report: dict[str, Any]) -> None:
    """Write the picture of a report."""
    names = [one["name"] for one in report["objects"]]
    size = len(names) * (PANEL[0] + GAP) + GAP, HEAD + len(MEASURES) * (PANEL[1] + GAP)
    sheet = Image.new("RGB", size, "white")
    pen, small = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    pen.text((GAP, 18), "Durable receive, over the number of associations at once", INK, ImageFont.load_default(20))
    said = f"{report['date']}, {report['machine']}. Medians of {report['rounds']} in turns; bars: least to most"
    pen.text((GAP, 48), said, FAINT, small)
    across = float(GAP)
    for key, colour in LINES.items():
        pen.line([(across, 82), (across + 24, 82)], colour, 3)
        pen.text((across + 32, 82), TITLES[key], INK, small, anchor="lm")
        across += 60 + pen.textlength(TITLES[key], small)
    for row, measure in enumerate(MEASURES):
        for column, name in enumerate(names):
            corner = GAP + column * (PANEL[0] + GAP), HEAD + row * (PANEL[1] + GAP)
            _panel(pen, corner, report, name, measure)
    sheet.quantize(64).save(path, "PNG", optimize=True)


def _panel(pen: ImageDraw.ImageDraw, corner: tuple[int, int], report: dict[str, Any], name: str, measure: str) -> None:
    small, (x0, y0) = ImageFont.load_default(13), corner
    left, top, right, bottom = x0 + LEFT, y0 + TOP, x0 + PANEL[0], y0 + PANEL[1] - BOTTOM
    lines: dict[str, dict[int, list[float]]] = {key: {} for key in LINES}
    numbers = sorted({line["associations"] for line in report["lines"]})
    for key, points in lines.items():
        for many in numbers:
            if line := line_of(report, key, name, many):
                points[many] = list(getattr(line, measure))
    highest = _round_up(max(max(values) for points in lines.values() for values in points.values()))
    last = math.log2(numbers[-1]) or 1.0

    def at(many: int, value: float) -> tuple[float, float]:
        return left + (right - left - 12) * math.log2(many) / last + 6, bottom - (bottom - top) * value / highest

    pen.text((x0, y0), f"{name}: {MEASURES[measure]}", INK, ImageFont.load_default(15))
    for tick in range(5):
        y = at(1, highest * tick / 4)[1]
        pen.line([(left, y), (right, y)], GRID)
        pen.text((left - 8, y), f"{highest * tick / 4:g}", FAINT, small, anchor="rm")
    for many in numbers:
        pen.text((at(many, 0)[0], bottom + 8), str(many), FAINT, small, anchor="ma")
    for key, points in lines.items():
        middles = [at(many, statistics.median(values)) for many, values in points.items()]
        pen.line(middles, LINES[key], 3)
        for (x, y), (many, values) in zip(middles, points.items(), strict=True):
            pen.line([at(many, min(values)), at(many, max(values))], LINES[key])
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], LINES[key])


def _round_up(value: float) -> float:
    """The next of 1, 2, 4 and 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(value, 0.001)))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)
