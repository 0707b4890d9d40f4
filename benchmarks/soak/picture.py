"""The soak as a picture: one panel for each measure, a line for each part, a mark for each fault."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Lines = Mapping[str, Sequence[tuple[float, float]]]

PANEL, GAP, HEAD, LEFT, BOTTOM = (620, 250), 34, 60, 64, 34
INK, FAINT, GRID, FAULT = (34, 34, 34), (110, 110, 110), (228, 228, 228), (244, 214, 208)
COLOURS = ((0, 90, 160), (200, 80, 20), (20, 130, 80), (130, 60, 150), (120, 100, 20), (90, 90, 90))


def draw(path: Path, title: str, panels: Mapping[str, Lines], faults: Sequence[float], days: int) -> None:
    """Write the picture; moments are in days, values in the unit that the panel's name has."""
    rows = (len(panels) + 1) // 2
    size = 2 * PANEL[0] + 3 * GAP, HEAD + rows * (PANEL[1] + 2 * GAP) + GAP
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, 22), title, INK, ImageFont.load_default(20))
    for number, (name, lines) in enumerate(panels.items()):
        corner = GAP + (number % 2) * (PANEL[0] + GAP), HEAD + (number // 2) * (PANEL[1] + 2 * GAP)
        _panel(pen, corner, name, lines, faults, days)
    sheet.quantize(64).save(path, "PNG", optimize=True)


def _panel(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], name: str, lines: Lines, faults: Sequence[float], days: int
) -> None:
    small, (x0, y0) = ImageFont.load_default(13), corner
    left, top, right, bottom = x0 + LEFT, y0 + GAP, x0 + PANEL[0], y0 + GAP + PANEL[1] - BOTTOM
    highest = _round_up(max((value for line in lines.values() for day, value in line if day <= days), default=1.0))

    def at(day: float, value: float) -> tuple[float, float]:
        return left + (right - left) * day / days, bottom - (bottom - top) * min(value, highest) / highest

    pen.text((x0, y0), name, INK, ImageFont.load_default(15))
    for moment in faults:
        pen.line([at(moment, 0), at(moment, highest)], FAULT, 2)
    for tick in range(5):
        value = highest * tick / 4
        pen.line([at(0, value), at(days, value)], GRID)
        pen.text((left - 8, at(0, value)[1]), f"{value:g}", FAINT, small, anchor="rm")
    for day in range(days + 1):
        pen.line([at(day, 0), (at(day, 0)[0], bottom + 5)], FAINT)
        pen.text((at(day, 0)[0], bottom + 8), str(day), FAINT, small, anchor="ma")
    label = right
    for number, (part, points) in reversed(list(enumerate(lines.items()))):
        colour = COLOURS[number % len(COLOURS)]
        pen.text((label, y0 + 4), part, colour, small, anchor="ra")
        label -= round(pen.textlength(part, small)) + 14
        for piece in _pieces([point for point in points if point[0] <= days]):
            pen.line([at(day, value) for day, value in piece], colour, 2, joint="curve")


def _pieces(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """A line falls to pieces where it has no value for a while, as when its process is down."""
    steps = sorted(after[0] - before[0] for before, after in pairwise(points))
    gap = max(0.15, 4 * steps[len(steps) // 2]) if steps else 0.15
    pieces: list[list[tuple[float, float]]] = []
    for point in points:
        if not pieces or point[0] - pieces[-1][-1][0] > gap:
            pieces.append([])
        pieces[-1].append(point)
    return pieces


def _round_up(value: float) -> float:
    step: float = 1.0
    while step * 10 < value:
        step *= 10
    while step > value > 0:
        step /= 10
    return next(step * share for share in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if step * share >= value)
