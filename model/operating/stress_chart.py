"""The stress table as a PNG: where sensitivity and specificity of each row lie, and how far they may fall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from model.augmentation.perturb import Role
from model.notice import NOTICE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WIDTH, ROW, TOP, BOTTOM, LEFT, RIGHT = 1060, 30, 110, 60, 330, 40
_INK, _SOFT, _GRID, _TINT, _PAPER = "#222222", "#666666", "#dddddd", "#f4f6f9", "#ffffff"
_SENSITIVITY, _SPECIFICITY = "#0072b2", "#d55e00"
"""Okabe and Ito's colours, distinguishable with colour blindness."""


def draw_stress(table: Mapping[str, Any], title: str, path: Path) -> None:
    """Draw a dot for each row's sensitivity and specificity, and dashed lines where a row does not hold any more.

    Parameters
    ----------
    table : mapping
        As ``stress_table.stress_table`` gives it.
    title : str
        Title of the chart.
    path : Path
        PNG file; replaced.
    """
    rows = table["rows"]
    picture = Image.new("RGB", (WIDTH, TOP + ROW * len(rows) + BOTTOM), _PAPER)
    draw = ImageDraw.Draw(picture)
    small, font, large = (ImageFont.load_default(size) for size in (13, 15, 19))
    lowest = min(min(row["sensitivity"], row["specificity"]) for row in rows)
    low = max(int((lowest - 0.02) * 20) / 20, 0.0)

    def place(share: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (share - low) / (1 - low)

    end = TOP + ROW * len(rows)
    draw.text((20, 16), title, fill=_INK, font=large, anchor="la")
    words = f"{table['films']} films, PNEUMONIA from {table['threshold']:g}. {NOTICE}"
    draw.text((20, 44), words, fill=_SOFT, font=small, anchor="la")
    for number, row in enumerate(rows):
        if row["role"] == Role.CHECK:
            draw.rectangle((0, TOP + ROW * number, WIDTH, TOP + ROW * (number + 1) - 1), fill=_TINT)
    for step in range(round((1 - low) * 20) + 1):
        share = low + step / 20
        draw.line((place(share), TOP, place(share), end), fill=_GRID)
        if step % max(round((1 - low) * 20) // 8, 1) == 0:
            draw.text((place(share), end + 8), f"{share:.2f}", fill=_SOFT, font=small, anchor="ma")
    legend = (("sensitivity", _SENSITIVITY, 0), ("specificity", _SPECIFICITY, 150))
    for key, colour, shift in legend:
        _dot(draw, LEFT + shift, 80, colour)
        draw.text((LEFT + shift + 12, 80), key, fill=_INK, font=small, anchor="lm")
        _dashed(draw, place(rows[0][key] - table["max_loss"]), TOP, end, colour)
        for number, row in enumerate(rows):
            _dot(draw, place(row[key]), TOP + ROW * (number + 0.5), colour)
    words = f"dashed: the most that may be lost ({table['max_loss']:g}); tinted: rows that check"
    draw.text((LEFT + 300, 80), words, fill=_SOFT, font=small, anchor="lm")
    for number, row in enumerate(rows):
        name = row["name"] + ("" if row["holds"] else "  (does not hold)")
        draw.text((LEFT - 16, TOP + ROW * (number + 0.5)), name, fill=_INK, font=font, anchor="rm")
    picture.save(path, format="PNG")


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, colour: str) -> None:
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour)


def _dashed(draw: ImageDraw.ImageDraw, x: float, top: int, end: int, colour: str) -> None:
    for y in range(top, end, 10):
        draw.line((x, y, x, min(y + 5, end)), fill=colour, width=2)
