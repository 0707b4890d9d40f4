"""The picture of a heat map: the film with contour lines, what the model says, a legend and the notice, all burned in.

It names the film by its SOP Instance UID alone. It is read in a viewer beside the film, on a dark screen.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dicom_io.results.result import as_written
from model.labels import Method
from model.notice import NOTICE
from worker.results.contours import COLOURS, WIDTHS_PX, drawn, has_lines, levels_of, nothing_of, sentence_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicom_io.results.result import StudyResult
    from model.explanation.explain import Explanation

#: The film's longest side in the picture, and the least width of the sheet, which the words need.
SIDE_PX, WIDTH_PX = 1100, 1100
MARGIN_PX, HEADER_PX, FOOTER_PX = 28, 132, 150
GROUND, TEXT, FAINT, WARNING = (10, 11, 13), (238, 238, 236), (165, 170, 178), (242, 192, 92)
METHODS = {Method.HIRESCAM: "HiResCAM", Method.GRAD_CAM: "Grad-CAM", Method.OCCLUSION: "occlusion"}

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def heat_map_picture(film: NDArray[np.uint8], explanation: Explanation, result: StudyResult) -> NDArray[np.uint8]:
    """Draw the picture.

    Parameters
    ----------
    film : ndarray of uint8, shape (rows, columns)
        The film that decides, MONOCHROME2.
    explanation : Explanation
        The evidence on it, calibrated.
    result : StudyResult
        What is said of the study.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
        sRGB.
    """
    zoom = SIDE_PX / max(film.shape)
    size = (max(round(film.shape[1] * zoom), 1), max(round(film.shape[0] * zoom), 1))
    shown = Image.fromarray(np.ascontiguousarray(film)).resize(size, Image.Resampling.LANCZOS)
    evidence, levels = explanation.over((size[1], size[0]), smooth=True), levels_of(explanation)
    width = max(size[0], WIDTH_PX)
    sheet = Image.new("RGB", (width, HEADER_PX + size[1] + FOOTER_PX), GROUND)
    sheet.paste(Image.fromarray(drawn(np.asarray(shown), evidence, levels)), ((width - size[0]) // 2, HEADER_PX))
    pen = ImageDraw.Draw(sheet)
    _header(pen, width, result)
    top = HEADER_PX + size[1]
    if has_lines(evidence, levels):
        _legend(pen, (MARGIN_PX, top + 42), width - 2 * MARGIN_PX, explanation)
    else:
        words = nothing_of(explanation)
        pen.text((MARGIN_PX, top + 44), words, TEXT, _fitting(pen, words, 23, width - 2 * MARGIN_PX), anchor="ls")
    _foot(pen, (MARGIN_PX, top + 92), width - 2 * MARGIN_PX, explanation, result)
    return np.asarray(sheet)


def _header(pen: ImageDraw.ImageDraw, width: int, result: StudyResult) -> None:
    room = width - 2 * MARGIN_PX
    title = f"Pneumonia: {result.status.value.lower()}, by a model"
    pen.text((MARGIN_PX, 46), title, TEXT, _font(34), anchor="ls")
    pen.text((width - MARGIN_PX, 46), NOTICE, WARNING, _fitting(pen, NOTICE, 25, room * 0.45), anchor="rs")
    parts = [
        f"{result.model.name}-{result.model.version}",
        f"score {as_written(result.deciding.probability)} of 1",
        f"pneumonia from {result.threshold:.3f} on",
        f"band {result.band.lower()}" if result.band else "",
    ]
    line = ",   ".join(part for part in parts if part)
    pen.text((MARGIN_PX, 86), line, TEXT, _fitting(pen, line, 25, room), anchor="ls")
    where = "The lines show where the model looks. They do not outline a finding."
    pen.text((MARGIN_PX, 117), where, FAINT, _fitting(pen, where, 21, room), anchor="ls")


def _legend(pen: ImageDraw.ImageDraw, corner: tuple[int, int], room: int, explanation: Explanation) -> None:
    (x, y), levels = corner, levels_of(explanation)
    words = f"{sentence_of(explanation)}:"
    stroke, gap = 40, 22
    taken = len(levels) * (stroke + 10) + (len(levels) + 1) * gap
    font = _fitting(pen, words + "".join(level.words for level in levels), 24, room - taken)
    pen.text((x, y), words, TEXT, font, anchor="ls")
    x += round(pen.textlength(words, font)) + gap
    for level, colour, line in zip(levels, COLOURS, WIDTHS_PX, strict=True):
        pen.line((x, y - 8, x + stroke, y - 8), colour, round(line + 1))
        pen.text((x + stroke + 10, y), level.words, TEXT, font, anchor="ls")
        x += stroke + 10 + round(pen.textlength(level.words, font)) + gap


def _foot(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], room: int, explanation: Explanation, result: StudyResult
) -> None:
    method = METHODS[explanation.method]
    flags = f",   judged in spite of {', '.join(result.flags)}" if result.flags else ""
    lines = (
        f"Map by {method}; score {'' if result.model.is_site_calibrated else 'not '}calibrated at this site{flags}",
        f"Film {result.deciding.sop_uid}",
    )
    for number, line in enumerate(lines):
        at = (corner[0], corner[1] + 32 * number)
        pen.text(at, line, FAINT, _fitting(pen, line, 20, room), anchor="ls")


def _fitting(pen: ImageDraw.ImageDraw, line: str, size: int, room: float) -> Font:
    """The largest font up to ``size`` in which the line fits into ``room`` pixels."""
    while size > 8 and pen.textlength(line, _font(size)) > room:
        size -= 1
    return _font(size)


@functools.cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
