"""Drawing the demo films: grey pictures of a chest from the front and from the side, and of a hand.

Coordinates are shares of the side of the picture, with (0, 0) at the upper left. The layers are attenuations that add
up as tissue does, and more attenuation is whiter. The patient's right is on the left of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Side of the finished film.
SIDE_PX = 1024
# Only the grain is finer than two pixels of the finished film, so everything else is drawn at half its size.
_DRAWN_PX = SIDE_PX // 2

Layer = NDArray[np.floating]
Point = tuple[float, float]

#: Lung outlines as seen from the front; each is a closed, rounded polygon.
_RIGHT_LUNG: tuple[Point, ...] = (
    *((0.400, 0.170), (0.340, 0.155), (0.270, 0.210), (0.215, 0.320), (0.170, 0.450), (0.145, 0.580), (0.130, 0.700)),
    *((0.122, 0.800), (0.180, 0.755), (0.260, 0.720), (0.340, 0.725), (0.395, 0.755), (0.415, 0.740), (0.405, 0.600)),
    *((0.415, 0.450), (0.440, 0.320), (0.435, 0.220)),
)
_LEFT_LUNG: tuple[Point, ...] = (
    *((0.600, 0.170), (0.660, 0.155), (0.730, 0.210), (0.785, 0.320), (0.830, 0.450), (0.855, 0.580), (0.870, 0.700)),
    *((0.880, 0.815), (0.835, 0.785), (0.795, 0.765), (0.765, 0.700), (0.720, 0.600), (0.660, 0.500), (0.610, 0.430)),
    *((0.580, 0.360), (0.565, 0.260)),
)
_HEART: tuple[Point, ...] = (
    *((0.440, 0.400), (0.410, 0.500), (0.395, 0.600), (0.410, 0.720), (0.500, 0.800), (0.620, 0.830), (0.740, 0.820)),
    *((0.775, 0.720), (0.750, 0.630), (0.690, 0.530), (0.620, 0.450), (0.570, 0.380)),
)
_BELLY: tuple[Point, ...] = (
    *((0.080, 0.850), (0.160, 0.775), (0.260, 0.728), (0.360, 0.733), (0.450, 0.760), (0.550, 0.775), (0.700, 0.770)),
    *((0.800, 0.775), (0.920, 0.850), (0.940, 1.100), (0.060, 1.100)),
)
#: A child held with raised arms.
_TRUNK: tuple[Point, ...] = (
    *((0.415, -0.05), (0.410, 0.050), (0.340, 0.095), (0.230, 0.115), (0.130, 0.070), (0.040, -0.05), (-0.100, -0.05)),
    *((-0.050, 0.090), (0.030, 0.200), (0.095, 0.310), (0.092, 0.450), (0.082, 0.600), (0.075, 0.800), (0.065, 1.100)),
    *((0.935, 1.100), (0.925, 0.800), (0.918, 0.600), (0.908, 0.450), (0.905, 0.310), (0.970, 0.200), (1.050, 0.090)),
    *((1.100, -0.05), (0.960, -0.05), (0.870, 0.070), (0.770, 0.115), (0.660, 0.095), (0.590, 0.050), (0.585, -0.05)),
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
        Whether to fill the inner fields of both lungs, the right one most, with blotchy consolidations.

    Returns
    -------
    numpy.ndarray
        Shape (1024, 1024), float32, 0 (black) to 1 (white).
    """
    random = np.random.default_rng(seed)
    lungs = np.maximum(_blob(_RIGHT_LUNG, 5), _blob(_LEFT_LUNG, 5))
    film = 0.66 * _blob(_TRUNK, 12) * _thickness()
    film += 0.28 * _blob(_BELLY, 8) - 0.08 * _disc((0.76, 0.91), 0.085, 0.050, 10)
    film -= lungs * _downwards(0.30, 0.54)
    film += 0.05 * _blob(_HEART, 10) + 0.03 * _blob(((0.435, -0.1), (0.565, -0.1), (0.57, 1.1), (0.43, 1.1)), 16)
    film += _spine(0.5) + _ribs() + _clavicles() + _shoulders()
    film += lungs * _vessels(random)
    if opacified:
        film += np.maximum(lungs, 0.65 * _blob(_HEART, 9)) * _consolidations(random)
    return _exposed(film, random, marker=(0.03, 0.20))


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
    film = np.zeros((_DRAWN_PX, _DRAWN_PX), np.float32)
    for index in range(11):
        top = 0.150 + 0.066 * index
        reach = (0.150, 0.225, 0.275, 0.312, 0.338, 0.356, 0.368, 0.376, 0.382, 0.386, 0.388)[index]
        for side in (-1, 1):
            behind = [(0.050, top), (0.13, top - 0.020), (reach * 0.72, top + 0.022), (reach, top + 0.105)]
            film += _rib([(0.5 + side * x, y) for x, y in behind], 0.032, 0.11)
            if index < 7:
                front = [(reach, top + 0.105), (reach * 0.90, top + 0.165), (reach * 0.62, top + 0.235)]
                film += _rib([(0.5 + side * x, y) for x, y in front], 0.036, 0.065)
    for side, lung in ((-1, _RIGHT_LUNG), (1, _LEFT_LUNG)):
        # along the wall the ribs are seen end on
        wall = [(x + side * 0.008, y) for x, y in lung[2:8]]
        film += 0.13 * _stroke(_smooth(wall), 0.020, 5)
    return film


def _rib(points: Sequence[Point], width: float, strength: float) -> Layer:
    """A rib is a tube: its borders are brighter than its middle."""
    line = _smooth(points)
    return strength * _stroke(line, width, 4) - 0.3 * strength * _stroke(line, width * 0.5, 5)


def _clavicles() -> Layer:
    film = np.zeros((_DRAWN_PX, _DRAWN_PX), np.float32)
    for side in (-1, 1):
        curve = [(0.040, 0.175), (0.10, 0.150), (0.17, 0.125), (0.25, 0.120), (0.33, 0.085)]
        film += _rib([(0.5 + side * x, y) for x, y in curve], 0.023, 0.15)
    return film


def _shoulders() -> Layer:
    """Shoulder blades, faint, and the heads of the upper arm bones."""
    film = np.zeros((_DRAWN_PX, _DRAWN_PX), np.float32)
    for side in (-1, 1):
        blade = [(0.360, 0.110), (0.310, 0.150), (0.330, 0.290), (0.375, 0.380), (0.392, 0.240)]
        film += 0.06 * _blob([(0.5 + side * x, y) for x, y in blade], 5)
        film += 0.12 * _disc((0.5 + side * 0.400, 0.075), 0.034, 0.034, 4)
        film += 0.10 * _stroke([(0.5 + side * 0.405, 0.07), (0.5 + side * 0.50, -0.06)], 0.045, 4)
    return film


def _vessels(random: np.random.Generator) -> Layer:
    """Lung vessels: branches from either hilum, thinner outwards."""
    film = np.zeros((_DRAWN_PX, _DRAWN_PX), np.float32)
    for side, hilum in ((-1, (0.415, 0.46)), (1, (0.595, 0.44))):
        film += 0.11 * _disc((hilum[0] + side * 0.010, hilum[1]), 0.026, 0.060, 18)
        for angle in np.linspace(-1.3, 1.3, 9) + random.normal(0, 0.12, 9):
            length = random.uniform(0.14, 0.24)
            start = (hilum[0], hilum[1] + 0.05 * np.sin(angle))
            tip = (start[0] + side * length * np.cos(angle), start[1] + length * np.sin(angle) * 1.2)
            bend = _between(start, tip, 0.5)
            line = _smooth([start, (bend[0], bend[1] + random.normal(0, 0.022)), tip])
            film = np.maximum(film, 0.06 * _stroke(line[: len(line) // 2], 0.012, 5) + 0.035 * _stroke(line, 0.007, 4))
    return film


def _consolidations(random: np.random.Generator) -> Layer:
    """Blotches that run together and blur the heart's border: fluid in the air spaces around both hila."""
    film = np.zeros((_DRAWN_PX, _DRAWN_PX), np.float32)
    for number, x, y, spread in ((44, 0.350, 0.600, 0.13), (30, 0.650, 0.520, 0.12)):
        for _ in range(number):
            center = (random.normal(x, 0.088), random.normal(y, spread))
            size = random.uniform(0.018, 0.045)
            film += random.uniform(0.07, 0.14) * _disc(center, size, size * random.uniform(0.7, 1.1), 14)
    density: Layer = 0.12 + 0.45 * np.tanh(film / 0.34)
    return density


def _thickness() -> Layer:
    """The trunk is thickest along the middle and thins out to its sides."""
    x = np.linspace(-1, 1, _DRAWN_PX, dtype=np.float32)
    return np.broadcast_to(0.92 + 0.08 * np.sqrt(np.clip(1 - (x / 0.95) ** 2, 0, 1)), (_DRAWN_PX, _DRAWN_PX))


def _downwards(top: float, bottom: float) -> Layer:
    """A value that changes from the upper to the lower edge: the lungs hold more air below."""
    return np.linspace(top, bottom, _DRAWN_PX, dtype=np.float32)[:, np.newaxis]


def _exposed(film: Layer, random: np.random.Generator, marker: Point) -> Layer:
    """The finished film: full size, grain, the soft shoulder of the film's curve, and the letter for the right side."""
    film = _resized(film, SIDE_PX)
    coarse = _resized(random.normal(0, 1, (SIDE_PX // 8, SIDE_PX // 8)), SIDE_PX)
    fine = random.standard_normal(film.shape, dtype=np.float32)
    film = np.clip(film + 0.006 * coarse + 0.008 * fine, 0.0, None)
    film = 0.02 + 0.90 * np.where(film < 0.75, film, 0.75 + 0.25 * np.tanh((film - 0.75) / 0.25))
    x, y = (round(share * SIDE_PX) for share in marker)
    letter = Image.new("L", (SIDE_PX, SIDE_PX))
    ImageDraw.Draw(letter).text((x, y), "R", fill=255, font_size=56)
    return np.clip(np.maximum(film, np.asarray(letter, np.float32) / 255 * 0.95), 0, 1)


def _resized(film: Layer, side: int, box: tuple[int, int, int, int] | None = None) -> Layer:
    picture = Image.fromarray(film.astype(np.float32, copy=False))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, box=box))


def _blob(points: Sequence[Point], blur_px: float) -> Layer:
    """A filled, rounded outline with a soft edge, 0 to 1; the blur in pixels of the finished film."""
    mask = Image.new("L", (_DRAWN_PX, _DRAWN_PX))
    outline = _smooth([*points, points[0]])
    ImageDraw.Draw(mask).polygon([(x * _DRAWN_PX, y * _DRAWN_PX) for x, y in outline], fill=255)
    return _blurred(mask, blur_px)


def _stroke(points: Sequence[Point], width: float, blur_px: float) -> Layer:
    """A line with round ends and a soft edge; the width in shares of the side."""
    mask = Image.new("L", (_DRAWN_PX, _DRAWN_PX))
    pen = ImageDraw.Draw(mask)
    line = [(x * _DRAWN_PX, y * _DRAWN_PX) for x, y in points]
    width_px = max(1, round(width * _DRAWN_PX))
    pen.line(line, fill=255, width=width_px, joint="curve")
    for x, y in (line[0], line[-1]):
        pen.circle((x, y), width_px / 2, fill=255)
    return _blurred(mask, blur_px)


def _disc(center: Point, width: float, height: float, blur_px: float) -> Layer:
    """An ellipse with a soft edge; half its axes in shares of the side."""
    mask = Image.new("L", (_DRAWN_PX, _DRAWN_PX))
    x, y = center
    box = [(x - width) * _DRAWN_PX, (y - height) * _DRAWN_PX, (x + width) * _DRAWN_PX, (y + height) * _DRAWN_PX]
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return _blurred(mask, blur_px)


def _blurred(mask: Image.Image, blur_px: float) -> Layer:
    box = mask.getbbox()
    if box is not None:
        # only around the shape: most of a picture-wide blur would be spent on black
        sigma = blur_px * _DRAWN_PX / SIDE_PX
        reach = round(3 * sigma) + 1
        around = (max(0, box[0] - reach), max(0, box[1] - reach), box[2] + reach, box[3] + reach)
        around = (*around[:2], min(_DRAWN_PX, around[2]), min(_DRAWN_PX, around[3]))
        mask.paste(mask.crop(around).filter(ImageFilter.GaussianBlur(sigma)), around[:2])
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
