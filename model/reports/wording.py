"""How every report writes figures, intervals and films."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from model.evaluation.figures import Figure
    from model.evaluation.provenance import Provenance
    from model.evaluation.scoring import ScoredFilm
    from model.statistics.intervals import Interval

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


def under(value: str, below: str) -> Markup:
    """A value with a smaller line below it, for narrow columns."""
    return Markup('{}<span class="under">{}</span>').format(value, below)


def stacked(figure: Figure | None, *, share: bool) -> str:
    """A figure above its interval by patient."""
    if figure is None:
        return "-"
    return under(number(figure.value, share=share), interval(figure.by_patient, share=share))


def picture_of(film: ScoredFilm, caption: str, provenance: Provenance, reader: Reader) -> tuple[str, str, str]:
    """A film of a gallery: picture as data URI, caption, name."""
    return picture_uri(reader(film.picture.path)), caption, provenance.name_of(film)


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
