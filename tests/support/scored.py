"""Films with answers, made up: what an evaluation and a comparison are computed of."""

from __future__ import annotations

import hashlib
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.data.dataset import Picture
from model.evaluation.provenance import Provenance
from model.evaluation.scoring import ScoredFilm
from model.labels import Label
from model.serving.classifier import Score

if TYPE_CHECKING:
    from model.labels import Band

SOURCE = Path("/films")
PROVENANCE = Provenance("auscult model evaluate /films", SOURCE, "2026-11-23 01:00 UTC", "Auscult 0.1.0")
VOID = ("meta", "img", "br")


def answered(
    name: str,
    label: Label,
    probability: float,
    *,
    kind: str | None = None,
    patient: str | None = None,
    band: Band | None = None,
    unlikeness: float | None = None,
    subgroups: tuple[tuple[str, str], ...] = (),
    size: tuple[int, int] = (1000, 1250),
) -> ScoredFilm:
    """A film below ``SOURCE`` and its answer at a threshold of 0.5; by default of a child of its own."""
    picture = Picture(SOURCE / label / name, label, kind or label.value, patient or name, subgroups)
    logit = math.log(probability / (1 - probability))
    score = Score(probability, logit, 0.5, Label.of(probability, 0.5), band, unlikeness)
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()
    return ScoredFilm(picture, score, *size, digest, digest)


def some_films(n: int, seed: int, *, gap: float = 1.5, **further: Any) -> list[ScoredFilm]:
    """``n`` films, half of them ill, two of each child; the same seed gives the same answers."""
    rng = np.random.default_rng(seed)
    films = []
    for number in range(n):
        label = Label.PNEUMONIA if number % 2 else Label.NORMAL
        logit = gap * (2 * label.target - 1) + 1.5 * rng.normal()
        kind = ("IM", "bacteria")[label.target] if number % 8 < 4 else ("NORMAL2-IM", "virus")[label.target]
        films.append(
            answered(
                f"film{number}.jpeg", label, 1 / (1 + math.exp(-logit)), kind=kind, patient=str(number // 4), **further
            )
        )
    return films


def grey_film(_path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture for any film."""
    return np.tile(np.arange(60, 180, dtype=np.uint8), (90, 1))


class Elements(HTMLParser):
    """What stands in a page: its elements with their attributes, its text; whether all that opens is closed."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text of the page."""
        return " ".join(self.texts)
