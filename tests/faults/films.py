"""The films that are sent: a few drawn ones with the answers that `auscult classify` gives, in ever new studies."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydicom.uid import UID

from dicom_io.create.phantom_drawing import frontal_chest, hand, lateral_chest
from dicom_io.create.radiograph import radiograph
from dicom_io.header.digests import dataset_sha256

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from tests.support.running import Site

CHILD, GROWN_UP = "003Y", "045Y"


@dataclass(frozen=True)
class Drawing:
    """How a film is drawn, and what its header says."""

    draw: Callable[[], NDArray[np.floating]]
    age: str = CHILD
    body_part: str = "CHEST"
    view: str = "AP"


def _chest(seed: int, *, opacified: bool) -> Callable[[], NDArray[np.floating]]:
    return lambda: frontal_chest(seed, opacified=opacified)


DRAWINGS = {
    **{f"normal {seed}": Drawing(_chest(seed, opacified=False)) for seed in (1, 2, 3)},
    **{f"positive {seed}": Drawing(_chest(seed, opacified=True)) for seed in (1, 8, 12)},
    "grown-up": Drawing(_chest(1, opacified=False), age=GROWN_UP),
    "lateral": Drawing(lambda: lateral_chest(1), view="LL"),
    "hand": Drawing(lambda: hand(1), body_part="HAND"),
}


@dataclass(frozen=True)
class Film:
    """A drawn film and what must be said of it: a probability, or a reason."""

    name: str
    dataset: Dataset
    outcome: str
    reason: str | None
    label: str | None
    probability: float | None

    @property
    def is_positive(self) -> bool:
        return self.label == "PNEUMONIA"


def _dataset(drawing: Drawing) -> Dataset:
    drawn = drawing.draw()
    half = drawn.reshape(drawn.shape[0] // 2, 2, drawn.shape[1] // 2, 2).mean(axis=(1, 3))
    ds = radiograph(np.rint(half * 4095).astype(np.uint16), 12, ("2.25.1", "2.25.2", "2.25.3"))
    ds.PatientAge, ds.BodyPartExamined, ds.ViewPosition = drawing.age, drawing.body_part, drawing.view
    ds.PatientOrientation = ["A", "F"] if drawing.view == "LL" else ["L", "F"]
    return ds


def catalogue(site: Site, folder: Path) -> dict[str, Film]:
    """Every drawing as a film, with the answer of the command line, which needs neither database nor worker."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets = {name: _dataset(drawing) for name, drawing in DRAWINGS.items()}
    paths = {name: folder / f"{number}.dcm" for number, name in enumerate(datasets)}
    for name, ds in datasets.items():
        ds.save_as(paths[name], enforce_file_format=True)
    judged = {row["path"]: row for row in site.json("classify", *paths.values(), check=None)}
    films = {}
    for name, ds in datasets.items():
        row = judged[str(paths[name])]
        films[name] = Film(name, ds, row["outcome"], row["reason"], row["label"], row["probability"])
    _check(films)
    return films


def _check(films: dict[str, Film]) -> None:
    """A wrong drawing would make every later comparison worthless."""
    labels = {name: film.label for name, film in films.items()}
    wanted = {"normal": "NORMAL", "positive": "PNEUMONIA"}
    assert all(label == wanted.get(name.split()[0]) for name, label in labels.items()), labels


@dataclass(eq=False)
class Sent:
    """One object to be sent, and when it was acknowledged."""

    study_uid: str
    sop_uid: str
    film: Film
    path: Path
    sha256: str
    #: Whether its sender never tries a second time.
    is_dropped: bool = False
    #: Whether a second listener is to receive it.
    is_second: bool = False
    #: On the monotonic clock, and on the host's clock as the site's processes see it; None until 0x0000 comes.
    acked_at: float | None = None
    acked_wall: float | None = None


@dataclass(eq=False)
class Study:
    """The objects of one Study Instance UID."""

    uid: str
    objects: list[Sent] = field(default_factory=list)

    @property
    def acked(self) -> list[Sent]:
        return [each for each in self.objects if each.acked_at is not None]


class Maker:
    """Makes studies of the catalogue's films, from a seed."""

    def __init__(self, films: dict[str, Film], folder: Path, rng: random.Random) -> None:
        self._films = films
        self._folder = folder
        self._rng = rng

    def uid(self) -> str:
        """A UID of this seed's."""
        return f"2.25.{self._rng.getrandbits(120)}"

    def film(self, kind: str) -> Film:
        """One of the normal, positive or refused films."""
        refused = ("grown-up", "lateral", "hand")
        names = [name for name in self._films if (name in refused if kind == "refused" else name.startswith(kind))]
        return self._films[self._rng.choice(names)]

    def named(self, name: str) -> Film:
        """The film of this name."""
        return self._films[name]

    def studies(self, count: int) -> list[Study]:
        """A mix: one film or several, of which one may be positive, with a few that no sender tries twice."""
        return [self.study(self._kinds()) for _ in range(count)]

    def _kinds(self) -> list[str]:
        mixes = (["normal"], ["positive"], ["refused"], ["normal", "positive"], ["normal", "normal", "positive"])
        return self._rng.choice((*mixes, ["normal", "refused"], ["positive", "refused", "normal"], ["normal"] * 2))

    def study(self, kinds: list[str]) -> Study:
        """A study of such films."""
        study = Study(self.uid())
        series = self.uid()
        for kind in kinds:
            self.add(study, series, self.film(kind), is_dropped=self._rng.random() < 0.05)
        return study

    def add(
        self, study: Study, series: str, film: Film, *, sop_uid: str | None = None, is_dropped: bool = False
    ) -> Sent:
        """Add one object to a study and write its file."""
        ds = copy.copy(film.dataset)
        ds.file_meta = copy.copy(film.dataset.file_meta)
        sop = sop_uid or self.uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = UID(study.uid), UID(series), UID(sop)
        ds.file_meta.MediaStorageSOPInstanceUID = UID(sop)
        ds.PatientID = f"FAULT-{study.uid[-6:]}"
        ds.PatientName = "Fault^Made Up"
        path = self._folder / f"{hashlib.sha256(f'{study.uid}{sop}{film.name}'.encode()).hexdigest()[:20]}.dcm"
        ds.save_as(path, enforce_file_format=True)
        sent = Sent(study.uid, sop, film, path, dataset_sha256(path), is_dropped)
        study.objects.append(sent)
        return sent
