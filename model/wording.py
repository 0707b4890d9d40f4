"""How reports write figures, films and where they come from: the same words on every page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from model.page import Markup, facts, join, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.assessment import Network, Provenance
    from model.evaluate import ScoredFilm
    from model.figures import Figure
    from model.intervals import Interval

    Reader = Callable[[Path], NDArray[np.uint8]]

THUMBNAIL_PX = 200

#: Figures in the order of a report: key, name, and whether they are shares, written in percent.
FIGURES = (
    ("accuracy", "Accuracy", True),
    ("sensitivity", "Sensitivity", True),
    ("specificity", "Specificity", True),
    ("auc", "AUC", False),
    ("average_precision", "Average precision", False),
    ("brier", "Brier score", False),
    ("ece", "Expected calibration error (10 bins)", False),
)


def number(value: float, *, share: bool) -> str:
    """A share in percent with one decimal, any other figure with three."""
    return f"{100 * value:z.1f} %" if share else f"{value:z.3f}"


def interval(bounds: Interval | None, *, share: bool) -> str:
    """Both bounds of an interval, or a dash."""
    if bounds is None:
        return "-"
    if share:
        return f"{100 * bounds[0]:z.1f} to {100 * bounds[1]:z.1f} %"
    return f"{bounds[0]:z.3f} to {bounds[1]:z.3f}"


def cell(figure: Figure | None, *, share: bool) -> str:
    """A figure with its interval by patient."""
    if figure is None:
        return "-"
    return f"{number(figure.value, share=share)} ({interval(figure.by_patient, share=share)})"


def stacked(figure: Figure | None, *, share: bool) -> str:
    """A figure above its interval by patient, for narrow columns."""
    if figure is None:
        return "-"
    bounds = tag("span", interval(figure.by_patient, share=share), class_="under")
    return join((number(figure.value, share=share), bounds))


def tile(name: str, figure: Figure, *, share: bool) -> Markup:
    """A figure in large print."""
    shown = f"{round(figure.value * figure.n)} of {figure.n} films" if share else f"{figure.n} films"
    return tag(
        "div",
        tag("span", name),
        tag("b", number(figure.value, share=share)),
        tag("span", f"95 % interval {interval(figure.by_patient, share=share)}", class_="soft"),
        tag("span", shown, class_="soft"),
        class_="tile",
    )


def origin(
    networks: Iterable[tuple[str, Network]], provenance: Provenance, further: Sequence[tuple[str, str]]
) -> Markup:
    """What was measured, on what, when and by which command."""
    pairs: list[tuple[str, str]] = []
    for name, network in networks:
        pairs += [
            (name, network.label),
            ("Operating point, SHA-256", tag("code", network.digest)),
            ("Weights, SHA-256", tag("code", network.weights_sha256)),
        ]
    pairs += [*further, ("Films from", str(provenance.source)), ("Command", tag("code", provenance.command))]
    return facts([*pairs, ("Made", f"{provenance.made_at} by {provenance.program}")])


def gallery(films: Sequence[ScoredFilm], captions: Sequence[str], provenance: Provenance, reader: Reader) -> Markup:
    """Small pictures of films, each with its name and a line of words."""
    return tag(
        "div",
        *(
            tag(
                "figure",
                tag("div", tag("img", src=picture_uri(reader(film.picture.path)), alt=""), class_="film"),
                tag("figcaption", tag("b", caption), provenance.name_of(film)),
            )
            for film, caption in zip(films, captions, strict=True)
        ),
        class_="films",
    )


def picture_uri(film: NDArray[np.uint8]) -> str:
    """A small picture of a film as a data URI.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        Grey, MONOCHROME2.

    Returns
    -------
    str
        A PNG of at most ``THUMBNAIL_PX`` pixels a side, aspect kept.
    """
    picture = Image.fromarray(np.ascontiguousarray(film))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
