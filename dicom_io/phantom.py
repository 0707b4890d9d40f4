"""Demo films: drawn in code, so that a fresh machine has something to judge and no patient is in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from dicom_io.phantom_drawing import Layer, frontal_chest, hand, lateral_chest
from dicom_io.radiograph import radiograph, uid_from

__all__ = ["DemoFilm", "demo_studies"]

_BITS_STORED = 12


@dataclass(frozen=True, slots=True, eq=False)
class DemoFilm:
    """One drawn film, a study of its own.

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


def demo_studies(seed: str = "demo") -> list[DemoFilm]:
    """Draw the demo films.

    Parameters
    ----------
    seed : str
        The UIDs come from it: the same seed makes the same objects, another seed other studies of the same drawings.

    Returns
    -------
    list of DemoFilm
        A normal and an opacified chest of a child of 3 years, a lateral, an adult, and a hand; DX For Presentation,
        12 bits.
    """
    normal = frontal_chest(1, opacified=False)
    opacified = frontal_chest(1, opacified=True)
    side, other = lateral_chest(1), hand(1)
    return [
        _film(seed, "NORMAL", "a child's chest with clear lungs", normal, "NORMAL"),
        _film(seed, "OPACIFIED", "the same chest with opacities in the lungs", opacified, "PNEUMONIA"),
        _film(seed, "LATERAL", "a chest from the side", side, "LATERAL_VIEW", view="LL"),
        _film(seed, "ADULT", "an adult's chest", normal, "AGE_OUT_OF_RANGE", age="045Y"),
        _film(seed, "HAND", "a child's hand", other, "NOT_CHEST", body_part="HAND"),
    ]


def _film(  # noqa: PLR0913 - each argument is one element of the object
    seed: str,
    name: str,
    what: str,
    drawing: Layer,
    expected: str,
    *,
    body_part: str = "CHEST",
    view: str = "AP",
    age: str = "003Y",
) -> DemoFilm:
    study, series, sop = (
        uid_from(hashlib.sha256(f"{seed}/{name}/{level}".encode()).digest()) for level in ("study", "series", "sop")
    )
    ds = radiograph(np.rint(drawing * ((1 << _BITS_STORED) - 1)).astype(np.uint16), _BITS_STORED, (study, series, sop))
    ds.PatientID = f"DEMO-{name}"
    ds.PatientName = f"Phantom^{name.title()}"
    ds.PatientAge = age
    ds.StudyDescription = "Drawn demo film"
    ds.SeriesDescription = what
    ds.BodyPartExamined, ds.ViewPosition = body_part, view
    ds.PatientOrientation = ["A", "F"] if view == "LL" else ["L", "F"]
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"
    return DemoFilm(f"DEMO-{name}", what, ds, expected)
