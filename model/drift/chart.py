"""Drift of one device as a PNG: what came each week, and the films now beside those of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model.drift.history import of_each_day
from model.drift.measures import EDGES, Measure
from model.drift.verdict import REFERENCE_DAYS
from model.notice import NOTICE
from model.statistics.stability import shares

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from numpy.typing import NDArray

    from model.drift.history import DayCounts
    from model.drift.reference import Reference
    from model.drift.verdict import Drift

PANEL, GAP, HEAD, FOOT, COLUMNS = (500, 190), 46, 108, 20, 3
INK, SOFT, GRID, TINT, PAPER = "#222222", "#666666", "#dddddd", "#eef3f8", "#ffffff"
NOW, BEFORE, TRAINING = "#d55e00", "#0072b2", "#999999"
"""Okabe and Ito's colours, distinguishable with colour blindness."""
UNITS = {
    Measure.SCORE: "score (logit)",
    Measure.UNLIKENESS: "unlikeness to the training films",
    Measure.MEAN_GREY: "mean grey",
    Measure.CONTRAST: "contrast",
    Measure.DARK_SHARE: "share of black pixels",
    Measure.BRIGHT_SHARE: "share of white pixels",
    Measure.SHARPNESS: "sharpness",
}
_FEWEST = 20


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where a panel lies, and what its axes say."""

    draw: ImageDraw.ImageDraw
    left: float
    top: float
    highest: float

    @property
    def right(self) -> float:
        return self.left + PANEL[0]

    @property
    def bottom(self) -> float:
        return self.top + PANEL[1]

    def at(self, across: float, value: float) -> tuple[float, float]:
        """The place of a value; `across` is 0 at the left and 1 at the right."""
        height = min(max(value / self.highest, 0.0), 1.0)
        return self.left + PANEL[0] * across, self.bottom - PANEL[1] * height


def draw_drift(path: Path, title: str, days: Sequence[DayCounts], drift: Drift, training: Reference) -> None:
    """Draw films, positive rate and refusals by week, and the distribution of each measure.

    Parameters
    ----------
    path : Path
        PNG file; replaced.
    title : str
        Model and device.
    days : sequence of DayCounts
        From the first day of the reference on, one or more.
    drift : Drift
        What was found of them.
    training : Reference
        Of the model.
    """
    measures = [measure for measure in Measure if of_each_day(days, measure).any()]
    rows = -(-(3 + len(measures)) // COLUMNS)
    size = COLUMNS * (PANEL[0] + GAP) + GAP, HEAD + rows * (PANEL[1] + 2 * GAP) + FOOT
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    _head(draw, title, drift)
    frames = [
        (GAP + (number % COLUMNS) * (PANEL[0] + GAP), HEAD + GAP // 2 + (number // COLUMNS) * (PANEL[1] + 2 * GAP))
        for number in range(3 + len(measures))
    ]
    weeks = _weeks(days)
    for corner, (name, values) in zip(frames, _by_week(weeks).items(), strict=False):
        _line(draw, corner, name, values, (days[0].day, drift))
    for corner, measure in zip(frames[3:], measures, strict=True):
        _distribution(draw, corner, measure, days, (drift, training))
    picture.save(path, format="PNG", optimize=True)


def _head(draw: ImageDraw.ImageDraw, title: str, drift: Drift) -> None:
    draw.text((GAP, 18), title, fill=INK, font=ImageFont.load_default(20))
    said = drift.verdict.value + (f": {', '.join(drift.because)}" if drift.because else "")
    draw.text((GAP, 46), f"{said}. {NOTICE}", fill=SOFT, font=ImageFont.load_default(14))
    legend = (
        (f"now: {_span(drift.now)}, {drift.films:,} judged films", NOW),
        (f"reference: {_span(drift.reference)}, {drift.films_reference:,}", BEFORE),
        ("training films", TRAINING),
    )
    left = float(GAP)
    for words, colour in legend:
        draw.rectangle((left, 78, left + 18, 84), fill=colour)
        draw.text((left + 26, 81), words, fill=INK, font=ImageFont.load_default(14), anchor="lm")
        left += 70 + draw.textlength(words, ImageFont.load_default(14))


def _span(window: tuple[date, date] | None) -> str:
    return "no days yet" if window is None else f"{window[0]} to {window[1]}"


def _weeks(days: Sequence[DayCounts]) -> list[tuple[date, list[DayCounts]]]:
    """The days by weeks that are counted from the first day."""
    first = days[0].day
    found: dict[int, list[DayCounts]] = {}
    for day in days:
        found.setdefault((day.day - first).days // 7, []).append(day)
    return [(first + timedelta(days=7 * week), found[week]) for week in sorted(found)]


def _by_week(weeks: Sequence[tuple[date, list[DayCounts]]]) -> dict[str, list[tuple[date, float]]]:
    """The three lines over time."""

    def line(part: str, whole: str) -> list[tuple[date, float]]:
        sums = [
            (day, sum(getattr(one, part) for one in of), sum(getattr(one, whole) for one in of)) for day, of in weeks
        ]
        return [(day, one / all_of) for day, one, all_of in sums if all_of >= _FEWEST]

    refused = [(day, 1 - share) for day, share in line("judged", "films")]
    last = weeks[-1][1][-1].day
    films = [(day, sum(one.films for one in of) / min(7, (last - day).days + 1)) for day, of in weeks]
    return {
        "films a day, by week": films,
        "share of PNEUMONIA among the judged films, by week": line("positive", "judged"),
        "share of films that were refused or failed, by week": refused,
    }


def _line(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    name: str,
    values: Sequence[tuple[date, float]],
    of: tuple[date, Drift],
) -> None:
    first, drift = of
    last = max([day for day, _ in values] + [window[1] for window in (drift.now, drift.reference) if window])
    span = max((last - first).days, REFERENCE_DAYS)
    frame = _Frame(draw, *corner, _round_up(max((value for _, value in values), default=1.0)))

    def across(day: date) -> float:
        return min(max((day - first).days / span, 0.0), 1.0)

    for window, colour in ((drift.reference, BEFORE), (drift.now, NOW)):
        if window:
            begin, end = frame.at(across(window[0]), 0)[0], frame.at(across(window[1]), 0)[0]
            draw.rectangle((begin, frame.top, end, frame.bottom), fill=TINT)
            draw.rectangle((begin, frame.bottom, end, frame.bottom + 4), fill=colour)
    _axes(frame, name)
    for place, day in ((0.0, first), (1.0, first + timedelta(days=span))):
        draw.text(
            (frame.at(place, 0)[0], frame.bottom + 8),
            str(day),
            fill=SOFT,
            font=ImageFont.load_default(12),
            anchor="la" if place == 0 else "ra",
        )
    points = [frame.at(across(day + timedelta(days=3)), value) for day, value in values]
    if len(points) > 1:
        draw.line(points, fill=INK, width=2)
    for x, y in points:
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=INK)


def _distribution(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    measure: Measure,
    days: Sequence[DayCounts],
    of: tuple[Drift, Reference],
) -> None:
    drift, training = of
    lines: list[tuple[NDArray[np.float64], str]] = []
    whole = training.whole(measure)
    if whole is not None:
        lines.append((shares(whole), TRAINING))
    for window, colour in ((drift.reference, BEFORE), (drift.now, NOW)):
        within = [day for day in days if window and window[0] <= day.day <= window[1]]
        counts = of_each_day(within, measure).sum(axis=0)
        if counts.sum() >= _FEWEST:
            lines.append((shares(counts), colour))
    seen = np.flatnonzero(of_each_day(days, measure).sum(axis=0) + (0 if whole is None else whole))
    low, high = max(int(seen[0]) - 1, 0), min(int(seen[-1]) + 2, len(EDGES[measure]) + 1)
    frame = _Frame(draw, *corner, _round_up(max((float(line[low:high].max()) for line, _ in lines), default=1.0)))
    compared = drift.measures.get(measure)
    words = ""
    if compared is not None and compared.psi.n_reference:
        words = f"   PSI {compared.psi.psi:.2f} ({compared.psi.low:.2f} to {compared.psi.high:.2f})"
        words += f", not by prevalence {compared.rest.psi:.2f}" if compared.rest else ""
        words += "  !" if compared.is_alarm else ""
    _axes(frame, UNITS[measure] + words)
    for line, colour in lines:
        _steps(frame, line[low:high], colour)
    edges = EDGES[measure]
    for place in range(low, high):
        if (place - low) % max((high - low) // 6, 1) == 0 and 0 < place <= len(edges):
            x = frame.at((place - low) / (high - low), 0)[0]
            draw.text(
                (x, frame.bottom + 8), f"{edges[place - 1]:g}", fill=SOFT, font=ImageFont.load_default(12), anchor="ma"
            )


def _steps(frame: _Frame, line: NDArray[np.float64], colour: str) -> None:
    points = []
    for place, share in enumerate(line):
        points += [frame.at(place / len(line), float(share)), frame.at((place + 1) / len(line), float(share))]
    frame.draw.line(points, fill=colour, width=3)


def _axes(frame: _Frame, name: str) -> None:
    small = ImageFont.load_default(12)
    frame.draw.text((frame.left, frame.top - 8), name, fill=INK, font=ImageFont.load_default(14), anchor="ls")
    for tick in range(3):
        value = frame.highest * tick / 2
        y = frame.at(0, value)[1]
        frame.draw.line((frame.left, y, frame.right, y), fill=GRID)
        frame.draw.text((frame.left - 6, y), f"{value:g}", fill=SOFT, font=small, anchor="rm")


def _round_up(value: float) -> float:
    step = 10.0 ** np.floor(np.log10(max(value, 1e-3)))
    return float(next(step * share for share in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10, 12) if step * share >= value))
