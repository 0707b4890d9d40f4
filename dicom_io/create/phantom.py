"""Demo films, drawn in code: a new installation has films to judge that show no patient."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dicom_io.create.phantom_drawing import Layer, frontal_chest, hand, lateral_chest
from dicom_io.create.radiograph import radiograph, uid_from

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

__all__ = ["DemoFilm", "demo_studies", "drawn_chests"]

_BITS_STORED = 12


@dataclass(frozen=True, slots=True, eq=False)
class DemoFilm:
    """One drawn film, which is a study of its own.

    Attributes
    ----------
    name : str
        A short name, also the patient ID ("DEMO-NORMAL").
    what : str
        What the drawing shows.
    dataset : pydicom.dataset.Dataset
        The DICOM object, with file meta information.
    expected : str
        The label the shipped model should give, or the reason the gate must give.
    """

    name: str
    what: str
    dataset: Dataset
    expected: str


@dataclass(frozen=True, slots=True)
class _Sketch:
    """The values of the header of one drawn film."""

    name: str
    what: str
    expected: str
    body_part: str = "CHEST"
    view: str = "AP"
    age: str = "003Y"


def demo_studies(seed: str = "demo") -> list[DemoFilm]:
    """Draw the demo films.

    Parameters
    ----------
    seed : str
        The source of the UIDs: the same seed gives the same objects, another seed gives new studies of the same
        drawings.

    Returns
    -------
    list of DemoFilm
        A normal and an opacified chest of a child of 3 years, a lateral, an adult, and a hand; DX For Presentation,
        12 bits.
    """
    clear, side = frontal_chest(1, opacified=False), lateral_chest(1)
    return [
        _film(seed, _Sketch("NORMAL", "a child's chest with clear lungs", "NORMAL"), clear),
        _film(
            seed,
            _Sketch("OPACIFIED", "the same chest with opacities in the lungs", "PNEUMONIA"),
            frontal_chest(1, opacified=True),
        ),
        _film(seed, _Sketch("LATERAL", "a chest from the side", "LATERAL_VIEW", view="LL"), side),
        _film(seed, _Sketch("ADULT", "an adult's chest", "AGE_OUT_OF_RANGE", age="045Y"), clear),
        _film(seed, _Sketch("HAND", "a child's hand", "NOT_CHEST", body_part="HAND"), hand(1)),
    ]


def drawn_chests() -> dict[str, NDArray[np.uint8]]:
    """Draw the two chests of the demo as films.

    Returns
    -------
    dict of str to numpy.ndarray of uint8, shape (rows, columns)
        Grey, MONOCHROME2, 0 to 255, by name: "NORMAL" with clear lungs, "OPACIFIED" with opacities.
    """
    drawings = {name: frontal_chest(1, opacified=name == "OPACIFIED") for name in ("NORMAL", "OPACIFIED")}
    return {name: np.rint(drawing * 255).astype(np.uint8) for name, drawing in drawings.items()}


def _film(seed: str, sketch: _Sketch, drawing: Layer) -> DemoFilm:
    study, series, sop = (
        uid_from(hashlib.sha256(f"{seed}/{sketch.name}/{level}".encode()).digest())
        for level in ("study", "series", "sop")
    )
    ds = radiograph(np.rint(drawing * ((1 << _BITS_STORED) - 1)).astype(np.uint16), _BITS_STORED, (study, series, sop))
    ds.PatientID = f"DEMO-{sketch.name}"
    ds.PatientName = f"Demo^{sketch.name.title()}"
    ds.PatientAge = sketch.age
    ds.StudyDescription = "Drawn demo film"
    ds.SeriesDescription = sketch.what
    ds.BodyPartExamined, ds.ViewPosition = sketch.body_part, sketch.view
    ds.PatientOrientation = ["A", "F"] if sketch.view == "LL" else ["L", "F"]
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"
    return DemoFilm(f"DEMO-{sketch.name}", sketch.what, ds, sketch.expected)
