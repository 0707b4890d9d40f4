"""Pictures that are no radiographs of a chest: test patterns, phantoms and pages, drawn as films."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]

SEED = 20261123


def drawn_patterns(rows: int, columns: int) -> dict[str, NDArray[np.uint8]]:
    """Every pattern at a size, by name."""
    y, x = np.mgrid[:rows, :columns]
    down, across = y / (rows - 1), x / (columns - 1)
    drawn = {
        **_ramps(across, down),
        **_grids(x, y, columns),
        **_fields(across, down),
        **_pages(rows, columns),
        "smpte": _smpte(rows, columns),
        "smpte, scanned": _grained(_smpte(rows, columns), 3),
        "tg18-qc": _tg18(rows, columns),
        "tg18-qc, scanned": _grained(_tg18(rows, columns), 2),
    }
    return {name: np.clip(plane, 0, 255).astype(np.uint8) for name, plane in drawn.items()}


def _grained(plane: Plane, sigma: float) -> Plane:
    return np.asarray(plane + np.random.default_rng(SEED).normal(0, sigma, plane.shape))


def _windowed(plane: Plane) -> Plane:
    """As an automatic window leaves it: the first and last half per cent become black and white."""
    low, high = np.percentile(plane, [0.5, 99.5])
    return np.asarray((plane - low) / (high - low) * 255)


def _ramps(across: Plane, down: Plane) -> dict[str, Plane]:
    radius = np.hypot(across - 0.5, down - 0.5)
    return {
        "ramp across": across * 255,
        "ramp down": down * 255,
        "ramp aslant": (across + down) * 127,
        "ramp with grain": _grained(across * 255, 10),
        "step wedge": np.floor(across * 11) * 23,
        "step wedge with grain": _grained(np.floor(across * 11) * 23, 8),
        "radial ramp": 255 - radius * 300,
        "blob": 255 * np.exp(-(radius**2) * 10),
        "blob with grain": _grained(255 * np.exp(-(radius**2) * 10), 6),
    }


def _grids(x: Plane, y: Plane, columns: int) -> dict[str, Plane]:
    checks = {f"checks of {side}": (x // side + y // side) % 2 * 255 for side in (1, 2, 4, 8, 16, 32, 64)}
    grained = {f"{name} with grain": _grained(plane * 0.6 + 50, 12) for name, plane in checks.items()}
    return {
        **checks,
        **grained,
        "line pairs": x // (1 + y * 12 // len(y)) % 2 * 255,
        "waves": 128 + 100 * np.sin(x / columns * 40),
        "dots": _grained(np.where((x % 40 - 20) ** 2 + (y % 40 - 20) ** 2 < 60, 180, 120), 6),
    }


def _fields(across: Plane, down: Plane) -> dict[str, Plane]:
    flat = np.full(across.shape, 128.0)
    heel = flat + 30 * down - 40 * np.hypot(across - 0.5, down - 0.5) ** 2
    collimated = np.where((abs(across - 0.5) < 0.3) & (abs(down - 0.5) < 0.35), 150.0, 5.0)
    return {
        "flat field with grain": _windowed(_grained(flat, 20)),
        "flat field with heel effect": _windowed(_grained(heel, 6)),
        "collimated field with grain": _grained(collimated, 8),
        "collimated field, windowed": _windowed(_grained(collimated, 20)),
        "noise": np.random.default_rng(SEED).integers(0, 256, across.shape),
    }


def _pages(rows: int, columns: int) -> dict[str, Plane]:
    page = Image.new("L", (columns, rows), 0)
    pen = ImageDraw.Draw(page)
    for line in range(rows // 28):
        pen.text((5, 28 * line), "THE QUICK BROWN FOX JUMPS OVER IT", fill=255, font=ImageFont.load_default(size=24))
    label = Image.new("L", (columns, rows), 0)
    ImageDraw.Draw(label).text((10, 10), "ERROR 17: NO IMAGE", fill=255)
    screen = np.full((rows, columns), 235)
    screen[: rows // 12], screen[:, : columns // 5] = 90, 200
    screen[rows // 10 : rows // 2, columns // 4 : columns * 9 // 10] = 20
    return {
        "page, white on black": np.asarray(page),
        "page, black on white": 255 - np.asarray(page),
        "black with a line of text": np.asarray(label),
        "screen of a program": screen,
        "black": np.zeros((rows, columns)),
    }


def _smpte(rows: int, columns: int) -> Plane:
    """After SMPTE RP 133: a grid, a ring of patches from black to white, line pairs in the corners."""
    picture = Image.new("L", (columns, rows), 128)
    pen = ImageDraw.Draw(picture)
    for tenth in range(1, 10):
        pen.line([(columns * tenth / 10, 0), (columns * tenth / 10, rows)], fill=220)
        pen.line([(0, rows * tenth / 10), (columns, rows * tenth / 10)], fill=220)
    for patch in range(11):
        angle = 2 * np.pi * patch / 11
        middle = np.array([columns * (0.5 + 0.3 * np.cos(angle)), rows * (0.5 + 0.3 * np.sin(angle))])
        half = np.array([columns, rows]) / 20
        pen.rectangle([*(middle - half), *(middle + half)], fill=int(25.5 * patch))
    drawn = np.array(picture)
    high, wide = rows // 10, columns // 10
    for left, top in ((0.05, 0.05), (0.85, 0.05), (0.05, 0.85), (0.85, 0.85), (0.45, 0.45)):
        drawn[int(rows * top) :, int(columns * left) :][:high, :wide] = np.arange(wide) // 2 % 2 * 255
    return drawn


def _tg18(rows: int, columns: int) -> Plane:
    """After AAPM TG18-QC: a grey ground, two ramps at the sides, eighteen patches."""
    drawn = np.full((rows, columns), 153.0)
    ramp = drawn[rows * 15 // 100 : rows * 6 // 10]
    ramp[:, columns * 6 // 100 : columns * 14 // 100] = np.linspace(0, 255, len(ramp))[:, None]
    ramp[:, columns * 86 // 100 : columns * 94 // 100] = np.linspace(255, 0, len(ramp))[:, None]
    for patch in range(18):
        top, left = int((0.25 + 0.15 * (patch // 6)) * rows), int((0.2 + 0.1 * (patch % 6)) * columns)
        drawn[top : top + rows // 10, left : left + columns * 8 // 100] = 8 + 15 * patch
    return drawn
