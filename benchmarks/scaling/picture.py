"""The tables as a picture: a panel for each kind of film, films a second over associations, a line for each number of workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.soak.picture import COLOURS, FAINT, GRID, INK

if TYPE_CHECKING:
    from pathlib import Path

PANEL, HEAD, LEFT, RIGHT, TOP, BOTTOM = (420, 420), 50, 50, 20, 60, 60
STEPS = 5


def draw(path: Path, report: dict[str, Any]) -> None:
    """Write the picture of a report of `benchmarks.scaling.run`."""
    kinds = report["kinds"]
    sheet = Image.new("RGB", (PANEL[0] * len(kinds), HEAD + PANEL[1]), "white")
    pen = ImageDraw.Draw(sheet)
    title = "From C-STORE to a committed row: films a second, by associations and workers"
    pen.text((LEFT, 16), title, INK, ImageFont.load_default(20))
    for number, kind in enumerate(kinds):
        _panel(pen, number * PANEL[0], kind, report)
    sheet.quantize(64).save(path, "PNG", optimize=True)


def _panel(pen: ImageDraw.ImageDraw, left: int, kind: dict[str, Any], report: dict[str, Any]) -> None:
    small = ImageFont.load_default(13)
    lines = [line for line in report["lines"] if line["kind"] == kind["key"]]
    highest = _round_up(max(line["spread"][1] for line in lines))
    most = math.log2(report["associations"][-1]) or 1

    def at(associations: int, rate: float) -> tuple[float, float]:
        across, up = math.log2(associations) / most, rate / highest
        x = left + LEFT + across * (PANEL[0] - LEFT - RIGHT)
        return x, HEAD + PANEL[1] - BOTTOM - up * (PANEL[1] - TOP - BOTTOM)

    pen.text((left + LEFT, HEAD + 10), kind["title"], INK, ImageFont.load_default(15))
    for step in range(STEPS + 1):
        rate = highest * step / STEPS
        pen.line([at(1, rate), at(report["associations"][-1], rate)], GRID)
        pen.text((left + LEFT - 6, at(1, rate)[1]), f"{rate:g}", FAINT, small, anchor="rm")
    for associations in report["associations"]:
        x, y = at(associations, 0)
        pen.text((x, y + 8), str(associations), FAINT, small, anchor="ma")
    pen.text((left + PANEL[0] / 2, HEAD + PANEL[1] - 24), "associations", FAINT, small, anchor="ma")
    for number, workers in enumerate(report["workers"]):
        colour = COLOURS[number]
        mine = sorted(
            (line for line in lines if line["workers"] == workers), key=lambda line: int(line["associations"])
        )
        pen.line([at(line["associations"], line["films_a_second"]) for line in mine], colour, 2)
        for line in mine:
            low, high = (at(line["associations"], rate) for rate in line["spread"])
            pen.line([low, high], colour, 1)
        text = f"{workers} worker{'s' if workers > 1 else ''}"
        pen.text((left + LEFT + 8 + number * 90, HEAD + 34), text, colour, small)


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
