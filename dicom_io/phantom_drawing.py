"""Drawing the demo films: grey pictures of a chest from the front and from the side, and of a hand.

Everything is drawn in shares of the picture's side, (0, 0) at the upper left, as layers of attenuation that add up the
way tissue does: more of it is whiter. The patient's right is on the left of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE_PX = 1024

Layer = NDArray[np.floating]
Point = tuple[float, float]

#: Lung outlines as seen from the front; each is a closed, rounded polygon.
_RIGHT_LUNG: tuple[Point, ...] = (
    *((0.415, 0.150), (0.360, 0.145), (0.300, 0.200), (0.250, 0.290), (0.215, 0.400), (0.195, 0.520), (0.185, 0.640)),
    *((0.180, 0.735), (0.230, 0.690), (0.300, 0.660), (0.380, 0.670), (0.425, 0.700), (0.430, 0.560), (0.425, 0.420)),
    *((0.440, 0.300),),
)
_LEFT_LUNG: tuple[Point, ...] = (
    *((0.585, 0.150), (0.640, 0.145), (0.700, 0.200), (0.750, 0.290), (0.785, 0.400), (0.805, 0.520), (0.815, 0.640)),
    *((0.822, 0.760), (0.775, 0.715), (0.735, 0.700), (0.700, 0.620), (0.650, 0.520), (0.590, 0.430), (0.570, 0.360)),
    *((0.565, 0.260),),
)
_HEART: tuple[Point, ...] = (
    *((0.445, 0.380), (0.420, 0.480), (0.410, 0.580), (0.430, 0.690), (0.520, 0.740), (0.640, 0.745), (0.715, 0.700)),
    *((0.705, 0.620), (0.655, 0.520), (0.600, 0.430), (0.570, 0.360)),
)
_TRUNK: tuple[Point, ...] = (
    *((0.435, -0.05), (0.430, 0.060), (0.330, 0.105), (0.200, 0.130), (0.060, 0.120), (-0.05, 0.200), (-0.05, 0.330)),
    *((0.080, 0.330), (0.125, 0.480), (0.130, 0.650), (0.130, 0.800), (0.140, 1.050), (0.860, 1.050), (0.870, 0.800)),
    *((0.870, 0.650), (0.875, 0.480), (0.920, 0.330), (1.050, 0.330), (1.050, 0.200), (0.940, 0.120), (0.800, 0.130)),
    *((0.670, 0.105), (0.570, 0.060), (0.565, -0.05)),
)
_LATERAL_TRUNK: tuple[Point, ...] = (
    *((0.380, -0.05), (0.360, 0.080), (0.250, 0.160), (0.190, 0.300), (0.160, 0.480), (0.170, 0.680), (0.180, 1.050)),
    *((0.840, 1.050), (0.850, 0.700), (0.830, 0.450), (0.790, 0.250), (0.690, 0.120), (0.640, 0.060), (0.640, -0.05)),
)
_LATERAL_LUNG: tuple[Point, ...] = (
    *((0.480, 0.150), (0.400, 0.200), (0.300, 0.300), (0.240, 0.430), (0.220, 0.560), (0.250, 0.630), (0.380, 0.600)),
    *((0.550, 0.640), (0.680, 0.740), (0.740, 0.800), (0.760, 0.640), (0.755, 0.480), (0.720, 0.320), (0.640, 0.200)),
    *((0.560, 0.150),),
)
_LATERAL_HEART: tuple[Point, ...] = (
    *((0.440, 0.380), (0.330, 0.430), (0.260, 0.520), (0.250, 0.610), (0.380, 0.620), (0.500, 0.640), (0.560, 0.560)),
    *((0.560, 0.460), (0.500, 0.390)),
)


def frontal_chest(seed: int, *, opacified: bool) -> Layer:
    """Draw a child's chest from the front.

    Parameters
    ----------
    seed : int
        Varies vessels and grain.
    opacified : bool
        Whether to fill the lower field of the right lung, and some of the left, with blotchy consolidations.

    Returns
    -------
    numpy.ndarray
        Shape (1024, 1024), float32, 0 (black) to 1 (white).
    """
    random = np.random.default_rng(seed)
    lungs = np.maximum(_blob(_RIGHT_LUNG, 5), _blob(_LEFT_LUNG, 5))
    film = 0.60 * _blob(_TRUNK, 14) * _thickness()
    film += 0.24 * _blob(
        ((0.13, 0.72), (0.30, 0.665), (0.43, 0.71), (0.70, 0.71), (0.87, 0.77), (0.87, 1.1), (0.13, 1.1)), 9
    )
    film -= 0.10 * _disc((0.70, 0.83), 0.075, 0.045, 8)
    film -= 0.33 * lungs
    film += 0.17 * _blob(_HEART, 9) + 0.11 * _blob(((0.435, -0.1), (0.565, -0.1), (0.57, 1.1), (0.43, 1.1)), 14)
    film += _spine(0.5) + _ribs() + _clavicles() + _shoulders()
    film += lungs * _vessels(random)
    if opacified:
        film += np.maximum(lungs, 0.25 * _blob(_HEART, 9)) * _consolidations(random)
    return _exposed(_closer(film), random, marker=(0.03, 0.08))


def lateral_chest(seed: int) -> Layer:
    """Draw a chest from the side: spine behind (right), breast bone in front, the heart between.

    Parameters
    ----------
    seed : int
        Varies the grain.

    Returns
    -------
    numpy.ndarray
        Shape (1024, 1024), float32, 0 to 1.
    """
    random = np.random.default_rng(seed)
    film = 0.66 * _blob(_LATERAL_TRUNK, 14) - 0.30 * _blob(_LATERAL_LUNG, 6) + 0.24 * _blob(_LATERAL_HEART, 10)
    film += 0.14 * _blob(((0.2, 0.62), (0.38, 0.60), (0.55, 0.64), (0.76, 0.80), (0.85, 1.1), (0.17, 1.1)), 8)
    for index in range(13):
        y = 0.12 + 0.066 * index
        x = 0.715 + 0.05 * np.sin(np.pi * (y - 0.1) / 0.8)
        film += 0.16 * _disc((x, y), 0.036, 0.026, 3)
    for index in range(8):
        y = 0.20 + 0.068 * index
        curve = [(0.74, y), (0.62, y + 0.035), (0.46, y + 0.11), (0.30, y + 0.20)]
        film += 0.07 * _stroke(_smooth(curve), 0.020, 2)
    film += 0.16 * _stroke(_smooth([(0.33, 0.21), (0.25, 0.33), (0.205, 0.50)]), 0.026, 3)
    film -= 0.10 * _stroke([(0.52, 0.0), (0.50, 0.30)], 0.035, 5)
    return _exposed(film, random, marker=(0.88, 0.06))


def hand(seed: int) -> Layer:
    """Draw a hand, its bones in a row for each finger.

    Parameters
    ----------
    seed : int
        Varies the grain.

    Returns
    -------
    numpy.ndarray
        Shape (1024, 1024), float32, 0 to 1.
    """
    random = np.random.default_rng(seed)
    fingers: tuple[tuple[Point, Point], ...] = (
        ((0.33, 0.50), (0.24, 0.17)),
        ((0.43, 0.47), (0.41, 0.09)),
        ((0.53, 0.47), (0.56, 0.10)),
    )
    fingers += (((0.62, 0.50), (0.70, 0.18)), ((0.34, 0.72), (0.13, 0.47)))
    flesh = _blob(((0.28, 0.45), (0.66, 0.45), (0.66, 0.75), (0.58, 0.85), (0.60, 1.1), (0.38, 1.1), (0.39, 0.86)), 8)
    for knuckle, tip in fingers:
        flesh = np.maximum(flesh, _stroke([(0.47, 0.72), knuckle, tip], 0.088, 6))
    film = 0.34 * flesh
    for knuckle, tip in fingers:
        film += _finger_bones(knuckle, tip)
    for x, y in ((0.42, 0.78), (0.48, 0.77), (0.54, 0.78), (0.44, 0.83), (0.51, 0.83)):
        film += 0.30 * _disc((x, y), 0.030, 0.026, 3)
    film += 0.34 * _stroke([(0.45, 0.89), (0.44, 1.1)], 0.075, 3) + 0.30 * _stroke(
        [(0.54, 0.90), (0.56, 1.1)], 0.045, 3
    )
    return _exposed(film, random, marker=(0.86, 0.90))


def _finger_bones(knuckle: Point, tip: Point) -> Layer:
    """Metacarpal and phalanges: three to the tip and one to the wrist, thicker at the joints."""
    wrist = (0.48 + 0.35 * (knuckle[0] - 0.48), 0.745)
    film = _bone(wrist, knuckle, 0.036)
    for start, end in ((0.03, 0.42), (0.47, 0.73), (0.78, 0.97)):
        film += _bone(_between(knuckle, tip, start), _between(knuckle, tip, end), 0.032 - 0.012 * start)
    return film


def _bone(start: Point, end: Point, width: float) -> Layer:
    shaft = _stroke([_between(start, end, 0.06), _between(start, end, 0.94)], width, 2)
    hollow = _stroke([_between(start, end, 0.2), _between(start, end, 0.8)], width * 0.45, 2)
    ends = _disc(_between(start, end, 0.08), width * 0.66, width * 0.6, 2)
    ends = np.maximum(ends, _disc(_between(start, end, 0.92), width * 0.62, width * 0.55, 2))
    return 0.36 * np.maximum(shaft, ends) - 0.12 * hollow


def _spine(x: float) -> Layer:
    """Vertebral bodies with the darker discs between them, faint behind the heart."""
    film = 0.05 * _blob(((x - 0.045, -0.1), (x + 0.045, -0.1), (x + 0.05, 1.1), (x - 0.05, 1.1)), 4)
    for index in range(17):
        y = 0.02 + 0.061 * index
        film += 0.035 * _disc((x, y), 0.050, 0.024, 3)
        film += 0.03 * _disc((x, y + 0.008), 0.009, 0.016, 2)
    # the windpipe is air
    return film - 0.11 * _stroke([(x, 0.0), (x - 0.004, 0.30)], 0.040, 4)


def _ribs() -> Layer:
    """Ten pairs: behind, from the spine up and out, then down along the chest wall; in front fainter and steeper."""
    film = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    for index in range(10):
        top = 0.125 + 0.059 * index
        reach = (0.155, 0.215, 0.255, 0.285, 0.305, 0.318, 0.325, 0.330, 0.332, 0.330)[index]
        for side in (-1, 1):
            behind = [(0.055, top), (0.14, top - 0.024), (reach * 0.75, top + 0.012), (reach, top + 0.085)]
            film += _rib([(0.5 + side * x, y) for x, y in behind], 0.022, 0.19)
            if index < 7:
                front = [(reach, top + 0.085), (reach * 0.86, top + 0.155), (reach * 0.55, top + 0.215)]
                film += _rib([(0.5 + side * x, y) for x, y in front], 0.024, 0.10)
    return film


def _rib(points: Sequence[Point], width: float, strength: float) -> Layer:
    """A rib is a tube: its borders are brighter than its middle."""
    line = _smooth(points)
    return strength * _stroke(line, width, 2) - 0.4 * strength * _stroke(line, width * 0.5, 2.5)


def _clavicles() -> Layer:
    film = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    for side in (-1, 1):
        curve = [(0.045, 0.175), (0.12, 0.150), (0.20, 0.118), (0.285, 0.120), (0.345, 0.100)]
        film += _rib([(0.5 + side * x, y) for x, y in curve], 0.024, 0.17)
    return film


def _shoulders() -> Layer:
    """Shoulder blades, faint, and the heads of the upper arm bones."""
    film = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    for side in (-1, 1):
        blade = [(0.385, 0.150), (0.325, 0.190), (0.300, 0.330), (0.330, 0.395), (0.375, 0.270)]
        film += 0.07 * _blob([(0.5 + side * x, y) for x, y in blade], 4)
        film += 0.14 * _disc((0.5 + side * 0.425, 0.160), 0.036, 0.036, 4)
        film += 0.12 * _stroke([(0.5 + side * 0.425, 0.17), (0.5 + side * 0.53, 0.25)], 0.05, 4)
    return film


def _vessels(random: np.random.Generator) -> Layer:
    """Lung vessels: branches from either hilum, thinner outwards."""
    film = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    for side, hilum in ((-1, (0.425, 0.43)), (1, (0.585, 0.42))):
        film += 0.09 * _disc((hilum[0] + side * 0.012, hilum[1]), 0.030, 0.055, 16)
        for angle in np.linspace(-1.25, 1.25, 11) + random.normal(0, 0.05, 11):
            length = random.uniform(0.16, 0.27)
            tip = (hilum[0] + side * length * np.cos(angle), hilum[1] + length * np.sin(angle) * 1.15)
            bend = _between(hilum, tip, 0.55)
            middle = (bend[0], bend[1] + random.normal(0, 0.014))
            line = _smooth([hilum, middle, tip])
            film = np.maximum(
                film, 0.07 * _stroke(line[: len(line) // 2], 0.010, 2.5) + 0.05 * _stroke(line, 0.0055, 2)
            )
    return film


def _consolidations(random: np.random.Generator) -> Layer:
    """Blotches that run together: fluid in the air spaces, densest at the base of the right lung."""
    film = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    for _ in range(34):
        center = (random.normal(0.315, 0.050), random.normal(0.545, 0.075))
        film += random.uniform(0.05, 0.10) * _disc(center, random.uniform(0.02, 0.05), random.uniform(0.02, 0.045), 16)
    for _ in range(18):
        center = (random.normal(0.675, 0.055), random.normal(0.46, 0.10))
        film += random.uniform(0.03, 0.06) * _disc(center, random.uniform(0.02, 0.045), random.uniform(0.02, 0.04), 18)
    return np.minimum(film, 0.42) + 0.07


def _thickness() -> Layer:
    """The trunk is thickest along the middle and thins out to its sides."""
    x = np.linspace(-1, 1, SIDE_PX, dtype=np.float32)
    return np.broadcast_to(0.72 + 0.28 * np.sqrt(np.clip(1 - (x / 0.95) ** 2, 0, 1)), (SIDE_PX, SIDE_PX))


def _closer(film: Layer) -> Layer:
    """Collimated to the chest, as the films of small children are."""
    left, upper, right, lower = (round(share * SIDE_PX) for share in (0.08, 0.04, 0.92, 0.88))
    box = (left, upper, right, lower)
    return np.asarray(Image.fromarray(film).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, box=box))


def _exposed(film: Layer, random: np.random.Generator, marker: Point) -> Layer:
    """Film grain, the soft shoulder of the film's curve, and the letter for the patient's right side."""
    coarse = random.normal(0, 1, (SIDE_PX // 8, SIDE_PX // 8)).astype(np.float32)
    grain = np.asarray(Image.fromarray(coarse).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), np.float32)
    fine = random.normal(0, 1, film.shape).astype(np.float32)
    film = np.clip(film + 0.006 * grain + 0.008 * fine, 0.0, None)
    film = 0.02 + 0.90 * np.where(film < 0.75, film, 0.75 + 0.25 * np.tanh((film - 0.75) / 0.25))
    x, y = (round(share * SIDE_PX) for share in marker)
    letter = Image.new("L", (SIDE_PX, SIDE_PX))
    ImageDraw.Draw(letter).text((x, y), "R", fill=255, font_size=56)
    return np.clip(np.maximum(film, np.asarray(letter, np.float32) / 255 * 0.95), 0, 1)


def _blob(points: Sequence[Point], blur_px: float) -> Layer:
    """A filled, rounded outline with a soft edge, 0 to 1."""
    mask = Image.new("L", (SIDE_PX, SIDE_PX))
    outline = _smooth([*points, points[0]])
    ImageDraw.Draw(mask).polygon([(x * SIDE_PX, y * SIDE_PX) for x, y in outline], fill=255)
    return _blurred(mask, blur_px)


def _stroke(points: Sequence[Point], width: float, blur_px: float) -> Layer:
    """A line with round ends and a soft edge; the width in shares of the side."""
    mask = Image.new("L", (SIDE_PX, SIDE_PX))
    pen = ImageDraw.Draw(mask)
    line = [(x * SIDE_PX, y * SIDE_PX) for x, y in points]
    width_px = max(1, round(width * SIDE_PX))
    pen.line(line, fill=255, width=width_px, joint="curve")
    for x, y in (line[0], line[-1]):
        pen.circle((x, y), width_px / 2, fill=255)
    return _blurred(mask, blur_px)


def _disc(center: Point, width: float, height: float, blur_px: float) -> Layer:
    """An ellipse with a soft edge; half its axes in shares of the side."""
    mask = Image.new("L", (SIDE_PX, SIDE_PX))
    x, y = center
    box = [(x - width) * SIDE_PX, (y - height) * SIDE_PX, (x + width) * SIDE_PX, (y + height) * SIDE_PX]
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return _blurred(mask, blur_px)


def _blurred(mask: Image.Image, blur_px: float) -> Layer:
    box = mask.getbbox()
    if box is not None:
        # only around the shape: most of a picture-wide blur would be spent on black
        reach = round(3 * blur_px) + 1
        around = (max(0, box[0] - reach), max(0, box[1] - reach), box[2] + reach, box[3] + reach)
        around = (*around[:2], min(SIDE_PX, around[2]), min(SIDE_PX, around[3]))
        mask.paste(mask.crop(around).filter(ImageFilter.GaussianBlur(blur_px)), around[:2])
    return np.asarray(mask, np.float32) / 255


def _smooth(points: Sequence[Point]) -> list[Point]:
    """Catmull-Rom curve through the points."""
    padded = [points[0], *points, points[-1]]
    curve: list[Point] = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        steps = (step / 12 for step in range(12))
        curve += [
            (_catmull_rom((p0[0], p1[0], p2[0], p3[0]), t), _catmull_rom((p0[1], p1[1], p2[1], p3[1]), t))
            for t in steps
        ]
    return [*curve, points[-1]]


def _catmull_rom(knots: tuple[float, float, float, float], t: float) -> float:
    a, b, c, d = knots
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)


def _between(start: Point, end: Point, share: float) -> Point:
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
