"""Charts as inline SVG; their colours are those of the page, light and dark."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from model.reports.svg import join, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from model.statistics.curves import Curve, HistogramBin, ReliabilityBin
    from model.statistics.intervals import Interval

_WIDTH, _HEIGHT = 400, 330
_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 10, 12, 40
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _chart(name: str, x_label: str, y_label: str, *shapes: str, y_ticks: Sequence[tuple[float, str]] = ()) -> Markup:
    """Axes from 0 to 1, a light grid, and shapes in it."""
    upright = y_ticks or [(tick, f"{tick:g}") for tick in _TICKS]
    lines = [_path(f"M{_x(tick):.1f} {_y(0):.1f}V{_y(1):.1f}", "grid") for tick in _TICKS]
    lines += [_path(f"M{_x(0):.1f} {_y(tick):.1f}H{_x(1):.1f}", "grid") for tick, _ in upright]
    words = [_text(_x(tick), _y(0) + 15, f"{tick:g}") for tick in _TICKS]
    words += [_text(_LEFT - 6, _y(tick) + 4, word, anchor="end") for tick, word in upright]
    words.append(_text(_x(0.5), _HEIGHT - 6, x_label))
    middle = _y(0.5)
    words.append(
        tag("text", y_label, x=12, y=middle, text_anchor="middle", transform=f"rotate(-90 12 {middle:.1f})"),
    )
    frame = _path(f"M{_x(0):.1f} {_y(1):.1f}V{_y(0):.1f}H{_x(1):.1f}", "axis")
    return tag(
        "svg",
        tag("title", name),
        *lines,
        frame,
        *words,
        *shapes,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=name,
    )


def _text(x: float, y: float, word: str, *, anchor: str = "middle", class_: str = "") -> Markup:
    return tag("text", word, x=x, y=y, text_anchor=anchor, **({"class_": class_} if class_ else {}))


def _line(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    return _path("M" + "L".join(f"{_x(x):.1f} {_y(y):.1f}" for x, y in points), class_)


def _path(d: str, class_: str) -> Markup:
    """A line with a colour of its own for programs that ignore the style sheet, as some printing programs do."""
    return tag("path", d=d, class_=class_, fill="none", stroke="currentColor")


def _dot(x: float, y: float, radius: float, class_: str = "dot") -> Markup:
    return tag("circle", cx=_x(x), cy=_y(y), r=float(radius), class_=class_)


def roc_chart(curves: Sequence[Curve], points: Sequence[tuple[float, float]]) -> Markup:
    """ROC of one or two networks, and where each one's threshold lies.

    Parameters
    ----------
    curves : sequence of Curve
        One or two.
    points : sequence of (float, float)
        False alarms and sensitivity of each at its threshold.

    Returns
    -------
    Markup
    """
    classes = ("curve", "curve second")
    drawn = [
        _line(list(zip(curve.x, curve.y, strict=True)), class_) for curve, class_ in zip(curves, classes, strict=False)
    ]
    colours = ("dot",) if len(points) == 1 else ("normal", "pneumonia")
    dots = [_dot(x, y, 4.5, class_) for (x, y), class_ in zip(points, colours, strict=False)]
    chance = _line([(0, 0), (1, 1)], "dashed")
    return _chart("ROC curve", "false alarms (1 - specificity)", "sensitivity", chance, *drawn, *dots)


def precision_recall_chart(curve: Curve, share_ill: float, point: tuple[float, float] | None) -> Markup:
    """Precision against sensitivity, in steps; dashed what calling every film pneumonia would reach.

    Parameters
    ----------
    curve : Curve
        Recall and precision.
    share_ill : float
        Share of pneumonia films.
    point : tuple of float or None
        Recall and precision at the threshold.

    Returns
    -------
    Markup
    """
    steps = [(0.0, curve.y[0])]
    for x, y in zip(curve.x, curve.y, strict=True):
        steps += [(steps[-1][0], y), (x, y)]
    dots = [] if point is None else [_dot(*point, 4.5)]
    base = _line([(0, share_ill), (1, share_ill)], "dashed")
    return _chart("Precision and recall", "sensitivity (recall)", "precision", base, _line(steps, "curve"), *dots)


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Markup:
    """Observed share of pneumonia in each bin of probability, with its interval; larger dots hold more films.

    Parameters
    ----------
    bins : sequence of ReliabilityBin
        Those that hold a film.

    Returns
    -------
    Markup
    """
    most = max(part.n for part in bins)
    shapes: list[Markup] = [_line([(0, 0), (1, 1)], "dashed")]
    for part in bins:
        shapes.append(_line([(part.probability, bound) for bound in part.interval], "whisker"))
        shapes.append(_dot(part.probability, part.observed, 2.5 + 5 * (part.n / most) ** 0.5))
    return _chart("Reliability diagram", "mean probability in the bin", "share with pneumonia", *shapes)


def histogram_chart(bins: Sequence[HistogramBin], threshold: float, other: float | None = None) -> Markup:
    """How many films of each label have which probability, side by side, and the threshold.

    Parameters
    ----------
    bins : sequence of HistogramBin
        Equal bins of [0, 1].
    threshold : float
        Where PNEUMONIA begins: a dashed line.
    other : float, optional
        Where it begins by another operating point: a solid line.

    Returns
    -------
    Markup
        The heights are shares of each label's films, so that the rarer label is seen too.
    """
    normal, ill = sum(part.normal for part in bins), sum(part.pneumonia for part in bins)
    highest = max(max(part.normal / normal, part.pneumonia / ill) for part in bins)
    top = math.ceil(5 * highest) / 5  # so that a quarter of it is a round number
    shapes = []
    for part in bins:
        half = (_x(part.high) - _x(part.low)) / 2
        sides = (("normal", part.normal / normal, 0.0), ("pneumonia", part.pneumonia / ill, half))
        for class_, share, shift in sides:
            height = _y(0) - _y(share / top)
            shapes.append(
                tag(
                    "rect",
                    x=_x(part.low) + shift + 0.5,
                    y=_y(0) - height,
                    width=half - 0.5,
                    height=height,
                    class_=class_,
                )
            )
    shapes.append(_line([(threshold, 0), (threshold, 1)], "dashed"))
    if other is not None:
        shapes.append(_line([(other, 0), (other, 1)], "whisker"))
    ticks = [(tick / 4, f"{top * tick / 4:.0%}") for tick in range(5)]
    return _chart("Histogram of the scores", "probability", "share of the label's films", *shapes, y_ticks=ticks)


def confusion_chart(confusion: tuple[tuple[int, int], tuple[int, int]]) -> Markup:
    """The four counts, shaded by the share of their row.

    Parameters
    ----------
    confusion : tuple of tuple of int
        ((true negatives, false positives), (false negatives, true positives)).

    Returns
    -------
    Markup
    """
    left, top, width, height = 110, 40, 140, 110
    shapes: list[Markup] = []
    for row, (name, counts) in enumerate(zip(("NORMAL", "PNEUMONIA"), confusion, strict=True)):
        shapes.append(_text(left - 10, top + height * (row + 0.5) + 4, name, anchor="end"))
        for column, count in enumerate(counts):
            share = count / max(sum(counts), 1)
            x, y = left + width * column, top + height * row
            class_ = "right" if row == column else "wrong"
            shapes.append(
                tag(
                    "rect",
                    x=x + 2,
                    y=y + 2,
                    width=width - 4,
                    height=height - 4,
                    rx=6,
                    class_=class_,
                    fill_opacity=0.08 + 0.42 * share,
                )
            )
            middle = x + width / 2
            shapes.append(_text(middle, y + height / 2, str(count), class_="strong"))
            shapes.append(_text(middle, y + height / 2 + 18, f"{share:.1%} of the row"))
    heads = [
        _text(left + width * (number + 0.5), top - 12, f"called {name}")
        for number, name in enumerate(("NORMAL", "PNEUMONIA"))
    ]
    return tag(
        "svg",
        tag("title", "Confusion matrix"),
        join(heads),
        *shapes,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT - 60}",
        role="img",
        aria_label="Confusion matrix",
    )


def interval_bar(value: float, interval: Interval | None, low: float, high: float) -> Markup:
    """A figure and its interval on a short line from ``low`` to ``high``, for a cell of a table.

    Parameters
    ----------
    value : float
        The figure.
    interval : tuple of float or None
        Its interval.
    low, high : float
        What the ends of the line mean.

    Returns
    -------
    Markup
    """

    def place(number: float) -> float:
        return 4 + 112 * (min(max(number, low), high) - low) / (high - low)

    whisker = [_path(f"M{place(interval[0]):.1f} 8H{place(interval[1]):.1f}", "whisker")] if interval else []
    zero = [_path(f"M{place(0):.1f} 1V15", "dashed")] if low < 0 < high else []
    return tag(
        "svg",
        _path("M4 8H116", "grid"),
        *zero,
        *whisker,
        tag("circle", cx=place(value), cy=8, r=3, class_="dot"),
        viewBox="0 0 120 16",
        class_="forest",
        aria_hidden="true",
    )
