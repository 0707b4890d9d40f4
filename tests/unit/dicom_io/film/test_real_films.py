"""The grey-scale chain on 7,469 real headers of chest radiographs: which table shows them, and their polarity."""

from __future__ import annotations

import ast
import csv
import gzip
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_io.film.greyscale import grey_table
from dicom_io.film.shutter import visible_pixels
from dicom_io.header.elements import Elements
from dicom_io.pixels.decode import StoredPixels
from dicom_io.pixels.pixel_header import pixel_header_of
from dicom_io.pixels.syntaxes import Decoder
from tests.support.films import lut_item

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.data, pytest.mark.timeout(120)]

#: The columns that the chain reads, and the elements they become.
NUMBERS = {
    "Window Center": "WindowCenter",
    "Window Width": "WindowWidth",
    "Rescale Slope": "RescaleSlope",
    "Rescale Intercept": "RescaleIntercept",
}
EDGES = {
    f"Collimator {name} Edge": f"Collimator{name.replace(' ', '')}Edge"
    for name in ("Left Vertical", "Right Vertical", "Upper Horizontal", "Lower Horizontal")
}
VERTICES = "Vertices of the Polygonal Collimator"


@pytest.fixture(scope="module")
def headers(test_data: Path) -> list[dict[str, str]]:
    with gzip.open(test_data / "real_headers" / "nlmcxr_dicom_metadata.csv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def values(text: str) -> list[str]:
    parts = ast.literal_eval(text) if text.startswith("[") else [text] if text else []
    return [str(part) for part in parts]


def stored(ds: Dataset, rows: int, columns: int, bits: int) -> StoredPixels:
    """Every value that the bits allow, as often as it fits into a picture of that size."""
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.Rows, ds.Columns = 16, bits, bits - 1, rows, columns
    pixels = (np.arange(rows * columns, dtype=np.uint32) % (1 << bits)).astype(np.uint16).reshape(rows, columns)
    elements = Elements(ds)
    header = pixel_header_of(elements)
    return StoredPixels(pixels, is_rgb=False, decoder=Decoder.NUMPY, header=header, elements=elements)


def how_shown(header: dict[str, str]) -> tuple[str, str, str]:
    """By what table, in which photometric interpretation, and whether larger stored values are shown darker."""
    ds = Dataset()
    ds.PhotometricInterpretation, ds.PresentationLUTShape = header["Photometric Interpretation"], None
    if header["Presentation LUT Shape"]:
        ds.PresentationLUTShape = header["Presentation LUT Shape"]
    for column, keyword in NUMBERS.items():
        setattr(ds, keyword, values(header[column]))
    descriptor = [int(number) for number in values(header["LUT Descriptor"])]
    if descriptor:
        # the entries are not among the headers
        entries = np.linspace(0, 4095, descriptor[0]).astype("<u2").tobytes()
        ds.VOILUTSequence = [lut_item(descriptor, entries, "OW")]
    table = grey_table(stored(ds, 256, 256, int(header["Bits Stored"])), 1).astype(int)
    steps = np.unique(np.sign(np.diff(table)))
    direction = {(0, 1): "lighter", (1,): "lighter", (-1, 0): "darker", (-1,): "darker"}.get(tuple(steps), "?")
    way = "VOI LUT" if descriptor else "window" if values(header["Window Center"]) else "automatic window"
    return way, ds.PhotometricInterpretation, direction


def test_every_real_header_is_shown_by_its_own_table_and_the_right_way_up(headers: list[dict[str, str]]) -> None:
    columns = ("Photometric Interpretation", "Presentation LUT Shape", "Bits Stored", "LUT Descriptor", *NUMBERS)
    shown = cache(lambda key: how_shown(dict(zip(columns, key, strict=True))))
    counted = Counter(shown(tuple(header[column] for column in columns)) for header in headers)
    assert counted == {
        ("window", "MONOCHROME2", "lighter"): 3578,
        ("VOI LUT", "MONOCHROME1", "darker"): 3011,
        ("window", "MONOCHROME1", "darker"): 499,
        ("automatic window", "MONOCHROME2", "lighter"): 281,
        ("automatic window", "MONOCHROME1", "darker"): 74,
        ("VOI LUT", "MONOCHROME2", "lighter"): 26,
    }


def test_no_real_collimator_hides_more_than_a_line_or_two(headers: list[dict[str, str]]) -> None:
    masks = []
    for header in headers:
        if header["Collimator Shape"]:
            ds = Dataset()
            ds.PhotometricInterpretation = "MONOCHROME2"
            ds.CollimatorShape = header["Collimator Shape"]
            for column, keyword in EDGES.items():
                setattr(ds, keyword, values(header[column]))
            ds.VerticesOfThePolygonalCollimator = values(header[VERTICES])
            masks.append(visible_pixels(stored(ds, int(header["Rows"]), int(header["Columns"]), 12)))
    assert len(masks) == 122
    assert all(mask is None for mask in masks)
