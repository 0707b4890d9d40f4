"""Charts of scores as inline SVG; their colours are those of the page, light and dark."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from model.reports.svg import tag
from worker.reports.words import score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

_WIDTH, _EDGE = 720, 24
_BAR_TOP, _BAR_HEIGHT = 44, 20
#: A band narrower than this has no room for its name; the caption has all names.
_NAMED_FROM_PX = 96
#: Half of the widest words at the scale.
_ROOM_PX = 100
_HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT = 760, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 24, 44


def score_scale(probability: float, threshold: float, bands: tuple[float, float] | None) -> Markup:
    """Where a score lies between 0 and 1, with the threshold and the bands.

    Parameters
    ----------
    probability, threshold : float
        In [0, 1].
    bands : tuple of float or None
        Where LOW ends and HIGH begins; None where the model has no bands, or they are not known any more.
    """
    shapes = [*_segments(bands, threshold), *_ends()]
    at = _place(threshold)
    bottom = _BAR_TOP + _BAR_HEIGHT
    shapes.append(tag("path", d=f"M{at:.1f} {_BAR_TOP - 6}V{bottom + 8}", class_="threshold", stroke="currentColor"))
    words = f"PNEUMONIA from {threshold:.3f}"
    shapes.append(_within(at, bottom + 40, words, "mid"))
    here = _place(probability)
    tip = _BAR_TOP - 2
    shapes.append(tag("path", d=f"M{here:.1f} {tip}L{here - 9:.1f} {tip - 14}H{here + 9:.1f}Z", class_="pointer"))
    shapes.append(_within(here, 22, score(probability), "big"))
    name = f"Score {score(probability)} on a scale from 0 to 1; PNEUMONIA from {threshold:.3f} on"
    return _svg(name, (_WIDTH, bottom + 50), *shapes)


def bands_in_words(bands: tuple[float, float]) -> str:
    """The three ranges of probability."""
    low, high = bands
    return f"Bands: LOW below {low:.3f}, INTERMEDIATE from {low:.3f}, HIGH from {high:.3f} on."


def _segments(bands: tuple[float, float] | None, threshold: float) -> list[Markup]:
    if bands is None:
        return [_bar(0, 1, "plain")]
    edges = (0.0, *bands, 1.0)
    parts = [
        (start, end, class_, name)
        for start, end, class_, name in zip(
            edges[:-1], edges[1:], ("low", "middle", "high"), ("LOW", "INTERMEDIATE", "HIGH"), strict=True
        )
        if end > start
    ]
    bars = [_bar(start, end, class_) for start, end, class_, _ in parts]
    names = []
    for start, end, _, name in parts:
        left, right = _free(_place(start), _place(end), _place(threshold))
        if right - left >= _NAMED_FROM_PX:
            names.append(_text((left + right) / 2, _BAR_TOP + 14, name, "within"))
    return [*bars, *names]


def _free(left: float, right: float, at: float) -> tuple[float, float]:
    """The part of a segment in which a name does not meet the line of the threshold: the larger side of it."""
    if not left < at < right:
        return left, right
    return (left, at) if at - left >= right - at else (at, right)


def _ends() -> list[Markup]:
    y = _BAR_TOP + _BAR_HEIGHT + 20
    return [_text(_place(share), y, f"{share:g}", "mid") for share in (0.0, 1.0)]


def _place(share: float) -> float:
    return _EDGE + share * (_WIDTH - 2 * _EDGE)


def _within(x: float, y: float, words: str, class_: str) -> Markup:
    """Words that stand at `x`; near an end of the picture they begin or end there, whatever the width of the letters."""
    if x < _ROOM_PX:
        return _text(2, y, words, class_, "start")
    if x > _WIDTH - _ROOM_PX:
        return _text(_WIDTH - 2, y, words, class_, "end")
    return _text(x, y, words, class_)


def _bar(start: float, end: float, class_: str) -> Markup:
    x = _place(start)
    return tag(
        "rect",
        x=x,
        y=float(_BAR_TOP),
        width=_place(end) - x,
        height=float(_BAR_HEIGHT),
        class_=class_,
        fill="currentColor",
    )


def histogram(counts: Sequence[tuple[int, int]], thresholds: Sequence[float]) -> Markup:
    """How many studies have which score.

    Parameters
    ----------
    counts : sequence of (int, int)
        Of equal bins of [0, 1]: studies NORMAL and PNEUMONIA.
    thresholds : sequence of float
        Where PNEUMONIA begins, by each model.
    """
    top = _round_up(max(normal + ill for normal, ill in counts))
    inner, height = _HISTOGRAM_WIDTH - _LEFT - _RIGHT, _HISTOGRAM_HEIGHT - _TOP - _BOTTOM
    base = _TOP + height
    shapes = []
    for step in range(5):
        y = base - height * step / 4
        shapes.append(_line(f"M{_LEFT} {y:.1f}H{_LEFT + inner}", "axis" if step == 0 else "grid"))
        shapes.append(_text(_LEFT - 8, y + 4, f"{top * step / 4:g}", "", "end"))
    width = inner / len(counts)
    for number, (normal, ill) in enumerate(counts):
        y = float(base)
        for count, class_ in ((normal, "normal"), (ill, "pneumonia")):
            tall = height * count / top
            y -= tall
            if count:
                x = _LEFT + number * width + 1
                shapes.append(tag("rect", x=x, y=y, width=width - 2, height=tall, class_=class_, fill="currentColor"))
    for threshold in thresholds:
        x = _LEFT + inner * threshold
        shapes.append(_line(f"M{x:.1f} {_TOP - 8}V{base}", "threshold"))
        end = "end" if threshold > 0.5 else "start"
        shapes.append(_text(x + (-6 if end == "end" else 6), _TOP, f"threshold {threshold:.3f}", "mid", end))
    shapes += [_text(_LEFT + inner * tick / 5, base + 18, f"{tick / 5:g}", "") for tick in range(6)]
    shapes.append(_text(_LEFT + inner / 2, _HISTOGRAM_HEIGHT - 6, "score of the study", ""))
    total = sum(normal + ill for normal, ill in counts)
    return _svg(f"Distribution of the scores of {total} studies", (_HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT), *shapes)


def share_bar(part: float, class_: str = "normal") -> Markup:
    """A share in [0, 1] as a bar for a cell; the number stands beside it."""
    return tag(
        "svg",
        tag("rect", x=0, y=3, width=110, height=8, rx=2, class_="plain", fill="currentColor"),
        tag("rect", x=0, y=3, width=110 * part, height=8, rx=2, class_=class_, fill="currentColor"),
        viewBox="0 0 110 14",
        class_="share",
        aria_hidden="true",
    )


def _round_up(count: int) -> int:
    """A number of four equal whole steps that holds a count: 4, 8, 20, 40, 80, 200 and so on."""
    step: int = 10 ** max(math.floor(math.log10(max(count, 1) / 4)), 0)
    return next(4 * step * factor for factor in (1, 2, 5, 10, 20) if 4 * step * factor >= count)


def _svg(name: str, size: tuple[int, int], *shapes: str) -> Markup:
    return tag("svg", tag("title", name), *shapes, viewBox=f"0 0 {size[0]} {size[1]}", role="img", aria_label=name)


def _text(x: float, y: float, word: str, class_: str, anchor: str = "middle") -> Markup:
    return tag("text", word, x=float(x), y=float(y), text_anchor=anchor, **({"class_": class_} if class_ else {}))


def _line(d: str, class_: str) -> Markup:
    """A line with a colour of its own for programs that ignore the style sheet, as some printing programs do."""
    return tag("path", d=d, class_=class_, fill="none", stroke="currentColor")
