"""The grey chain as it is told: what of the header was applied, and that telling it makes the same film."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dicom_io.film.film import film_of_dicom
from dicom_io.film.grey_chain import GreyChain, film_with_chain
from dicom_io.film.route import Route
from tests.support.films import film, lut, ramp, save

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WINDOW: dict[str, Any] = {"WindowCenter": "2048", "WindowWidth": "3000"}


def chain_of(folder: Path, pixels: NDArray[Any] | None = None, **elements: Any) -> GreyChain:
    """The chain of such a film, which is the film that is made without asking."""
    pixels = ramp() if pixels is None else pixels
    elements.setdefault("BitsStored", 12 if pixels.dtype.itemsize == 2 else 8)
    path = save(film(pixels, **elements), folder)
    made, chain = film_with_chain(path)
    assert made.sha256 == film_of_dicom(path).sha256
    return chain


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        (WINDOW, {"voi": "WINDOW", "window_center": 2048.0, "window_width": 3000.0, "window_function": ""}),
        (WINDOW | {"VOILUTFunction": "SIGMOID"}, {"voi": "WINDOW", "window_function": "SIGMOID"}),
        (WINDOW | {"VOILUTSequence": lut([4096, 0, 12], list(range(4096)))}, {"voi": "VOI_LUT", "window_center": None}),
        # A table that shows nothing leaves its place to the window, and a window far outside to the automatic one.
        (WINDOW | {"VOILUTSequence": lut([2, 0, 12], [7, 7])}, {"voi": "WINDOW", "window_center": 2048.0}),
        ({"WindowCenter": "30000", "WindowWidth": "100"}, {"voi": "AUTOMATIC", "window_center": None}),
        ({}, {"voi": "AUTOMATIC", "is_logarithmic": False}),
        ({"PixelIntensityRelationship": "LIN"}, {"voi": "AUTOMATIC", "is_logarithmic": True}),
        ({"RescaleSlope": "2", "RescaleIntercept": "-5"}, {"modality": "RESCALE", "slope": 2.0, "intercept": -5.0}),
        ({"RescaleSlope": "1", "RescaleIntercept": "0"}, {"modality": "NONE", "slope": None}),
        ({"RescaleSlope": "1e300", "RescaleIntercept": "0"}, {"modality": "NONE", "slope": None}),
        ({"ModalityLUTSequence": lut([2, 0, 16], [0, 65535]), "RescaleSlope": "2"}, {"modality": "MODALITY_LUT"}),
        ({"PhotometricInterpretation": "MONOCHROME1"}, {"inverted_by": ("MONOCHROME1",)}),
        (
            {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
            {"inverted_by": ("MONOCHROME1", "INVERSE")},
        ),
        ({"PresentationLUTSequence": lut([256, 0, 8], list(range(256)))}, {"has_presentation_lut": True}),
    ],
)
def test_the_transforms_that_were_applied_are_told(
    elements: dict[str, Any], told: dict[str, Any], tmp_path: Path
) -> None:
    chain = chain_of(tmp_path, **elements)
    assert {name: getattr(chain, name) for name in told} == told


def test_eight_bits_without_a_window_are_shown_in_their_full_range(tmp_path: Path) -> None:
    chain = chain_of(tmp_path, ramp(dtype=np.uint8, top=255))
    assert (chain.voi, chain.bits_stored, chain.route) == ("FULL_RANGE", 8, Route.FULL.value)


def test_a_colour_picture_has_no_grey_chain(tmp_path: Path) -> None:
    chain = chain_of(tmp_path, np.stack([ramp(dtype=np.uint8, top=255)] * 3, axis=-1))
    assert (chain.photometric, chain.modality, chain.voi) == ("RGB", None, None)


def test_a_shutter_is_told_with_the_part_that_it_leaves(tmp_path: Path) -> None:
    edges = {"LeftVertical": 33, "RightVertical": 224, "UpperHorizontal": 1, "LowerHorizontal": 160}
    shutter: dict[str, Any] = {"ShutterShape": "RECTANGULAR"} | {
        f"Shutter{name}Edge": edge for name, edge in edges.items()
    }
    chain = chain_of(tmp_path, **WINDOW, **shutter)
    assert (chain.hidden_by, chain.box, chain.is_masked) == (("SHUTTER",), (0, 32, 160, 192), False)
    # One that hides nothing is named, and nothing is cut off.
    whole: dict[str, Any] = shutter | {"ShutterLeftVerticalEdge": 1, "ShutterRightVerticalEdge": 256}
    chain = chain_of(tmp_path, **WINDOW, **whole)
    assert (chain.hidden_by, chain.box, chain.is_masked) == (("SHUTTER",), None, False)


def test_a_round_opening_hides_corners_of_what_is_left(tmp_path: Path) -> None:
    circle: dict[str, Any] = {
        "CollimatorShape": "CIRCULAR",
        "CenterOfCircularCollimator": [80, 128],
        "RadiusOfCircularCollimator": 70,
    }
    chain = chain_of(tmp_path, **WINDOW, **circle)
    assert chain.hidden_by == ("COLLIMATOR",)
    assert chain.box is not None
    assert chain.is_masked


def test_a_film_of_a_lower_resolution_tells_its_route(tmp_path: Path) -> None:
    import imagecodecs
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    pixels = ramp(2048, 2048)
    ds = film(pixels, syntax=JPEG2000Lossless, BitsStored=12, **WINDOW)
    ds.PixelData = encapsulate([bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, level=0))])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    _, chain = film_with_chain(save(ds, tmp_path))
    assert chain.coding == "jpeg-2000"
    assert (chain.route, chain.block, chain.voi) == ("levels", 8, "WINDOW")
