"""The picture that answers "why": the film, the film with the network's evidence on it, a scale and a caption.

It identifies the film only by its SOP Instance UID: the picture, its text chunks and its name hold no patient data.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from dicom_io.durable import write_whole
from model.explanation.heatmap import tinted
from model.labels import Method
from model.notice import NOTICE
from worker.batches.explain import Explained

#: The film's longest side in the picture.
SIDE_PX = 720
MARGIN_PX, GAP_PX, HEADER_PX, FOOTER_PX = 36, 24, 126, 192
#: The least width, which the words need.
WIDTH_PX = 1480
BAR_PX = (400, 18)
#: The grey below the colours of the scale: about the middle grey of a film.
FILM_GREY = 96
GROUND, TEXT, FAINT, WARNING = (17, 19, 22), (238, 238, 236), (158, 164, 172), (242, 192, 92)
#: Names of facts: those in the header, and those in each line of the caption.
SCORED = ("Probability", "Threshold", "Band")
CAPTION = (("Model", "Method", "Film version", "Unlikeness"), ("SOP Instance UID",), ("Flags",))
UNIT = "were the whole film like that place"
METHODS = {Method.HIRESCAM: "HiResCAM", Method.GRAD_CAM: "Grad-CAM", Method.OCCLUSION: "occlusion"}


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def write_figure(explained: Explained, path: Path) -> None:
    """Write the picture as a PNG file that only its owner may read, whole or not at all; raises OSError."""
    notes = PngInfo()
    for name, text in {"Software": "auscult", **facts_of(explained)}.items():
        notes.add_text(name, text)
    data = io.BytesIO()
    figure(explained).save(data, "PNG", pnginfo=notes)
    write_whole(path, [data.getbuffer()])


def facts_of(explained: Explained) -> dict[str, str]:
    """Return the words of the picture, which are also the text chunks of the PNG file."""
    score, explanation = explained.score, explained.explanation
    facts = {
        "Label": score.label,
        "Probability": _probability(score.probability),
        "Threshold": f"{score.threshold:.3f}",
        "Band": score.band or "",
        "Unlikeness": "" if score.unlikeness is None else f"{score.unlikeness:.2f}",
        "Logit": f"{explanation.logit:+.2f}",
        "Flags": ", ".join(explained.flags),
        "Model": explained.model,
        "Method": METHODS[explanation.method],
        "Film version": str(explained.film.version),
        "SOP Instance UID": explained.sop_uid,
        "Notice": NOTICE,
    }
    return {name: printable(text) for name, text in facts.items() if text}


def _probability(probability: float) -> str:
    """Return three decimals, but never 0 or 1, which would claim certainty."""
    if probability < 0.001:
        return "below 0.001"
    return "above 0.999" if probability > 0.999 else f"{probability:.3f}"


def printable(text: str) -> str:
    """Return the text with a question mark for every character but printable ASCII, which fonts and text chunks support."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)


def figure(explained: Explained) -> Image.Image:
    """Draw the picture."""
    film = Image.fromarray(np.ascontiguousarray(explained.film.pixels))
    zoom = SIDE_PX / max(film.size)
    shown = film.resize((round(film.width * zoom) or 1, round(film.height * zoom) or 1), Image.Resampling.LANCZOS)
    evidence = explained.explanation.over((shown.height, shown.width))
    width = max(2 * (MARGIN_PX + shown.width) + GAP_PX, WIDTH_PX)
    sheet = Image.new("RGB", (width, HEADER_PX + shown.height + FOOTER_PX), GROUND)
    left = (width - GAP_PX) // 2 - shown.width
    right = left + shown.width + GAP_PX
    sheet.paste(shown.convert("RGB"), (left, HEADER_PX))
    sheet.paste(Image.fromarray(tinted(np.asarray(shown), evidence, explained.full)), (right, HEADER_PX))
    pen = ImageDraw.Draw(sheet)
    facts = facts_of(explained)
    _header(pen, width, facts)
    for x, title in ((left, "Film"), (right, "Evidence on the film")):
        pen.text((x, HEADER_PX - 12), title, FAINT, _font(17), anchor="ls")
    _scale(sheet, pen, (width - MARGIN_PX - BAR_PX[0], HEADER_PX + shown.height + 40), explained)
    room = width - 3 * MARGIN_PX - BAR_PX[0]
    _caption(pen, (MARGIN_PX, HEADER_PX + shown.height + 34), room, _sums(explained, evidence), facts)
    return sheet


def _header(pen: ImageDraw.ImageDraw, width: int, facts: dict[str, str]) -> None:
    label, notice, words = _font(34), _font(22), [f"{name.lower()} {facts[name]}" for name in SCORED if name in facts]
    pen.text((MARGIN_PX, 52), facts["Label"], TEXT, label, anchor="ls")
    pen.text((width - MARGIN_PX, 52), facts["Notice"], WARNING, notice, anchor="rs")
    after = MARGIN_PX + pen.textlength(facts["Label"], label) + GAP_PX
    room = width - MARGIN_PX - pen.textlength(facts["Notice"], notice) - GAP_PX - after
    line = ",  ".join(words)
    pen.text((after, 52), line, TEXT, _fitting(pen, line, 22, room), anchor="ls")


def _caption(pen: ImageDraw.ImageDraw, corner: tuple[int, int], room: int, sums: str, facts: dict[str, str]) -> None:
    about = [[f"{name} {facts[name]}" for name in line if name in facts] for line in CAPTION]
    for number, line in enumerate([sums, *(",  ".join(words) for words in about if words)]):
        at = (corner[0], corner[1] + 34 * number)
        pen.text(at, line, FAINT if number else TEXT, _fitting(pen, line, 19, room), anchor="la")


def _scale(sheet: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[int, int], explained: Explained) -> None:
    """Draw the colours on a middle grey, from the strongest evidence against pneumonia to the strongest for it."""
    (x, y), (length, height), full = corner, BAR_PX, explained.full
    unit = "by which the answer falls when a place is covered" if _is_occlusion(explained) else UNIT
    values = np.tile(np.linspace(-full, full, length, dtype=np.float32), (height, 1))
    grey = np.full(values.shape, FILM_GREY, np.uint8)
    sheet.paste(Image.fromarray(tinted(grey, values, full)), corner)
    for share, anchor in ((0.0, "ls"), (0.5, "ms"), (1.0, "rs")):
        words = {0.0: "against pneumonia", 1.0: "for pneumonia"}.get(share, "")
        at = x + share * length
        pen.text((at, y - 8), words, TEXT, _font(17), anchor=anchor)
        pen.text(
            (at, y + height + 24),
            f"{(2 * share - 1) * full:+g}" if share != 0.5 else "0",
            TEXT,
            _font(17),
            anchor=anchor,
        )
    pen.text(
        (x + length, y + height + 52),
        f"logits {unit}; colours end at {full:g}",
        FAINT,
        _font(15),
        anchor="rs",
    )


def _sums(explained: Explained, evidence: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    """Return the sentence on how the evidence adds up to the logit; the part against is the rest, so rounding leaves no gap.

    Occlusion does not add up: the sentence has the largest change either way when a place is covered.
    """
    explanation = explained.explanation
    if _is_occlusion(explained):
        falls = f"covering a place moves it by {-float(evidence.max()):+.1f} to {-float(evidence.min()):+.1f}"
        return f"Logit {explanation.logit:+.1f};  {falls}"
    speaks_for = float(np.maximum(evidence, 0).mean())
    against = explanation.logit - explanation.bias - speaks_for
    parts = f"for {speaks_for:+.1f},  against {against:+.1f},  bias {explanation.bias:+.1f}"
    return f"Evidence over the film:  {parts},  in all logit {explanation.logit:+.1f}"


def _is_occlusion(explained: Explained) -> bool:
    return explained.explanation.method is Method.OCCLUSION


def _fitting(pen: ImageDraw.ImageDraw, line: str, size: int, room: float) -> Font:
    """Return the largest font up to ``size`` in which the line fits into ``room`` pixels."""
    while size > 8 and pen.textlength(line, _font(size)) > room:
        size -= 1
    return _font(size)


@functools.cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
