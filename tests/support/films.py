"""Radiographs made for a test: a full-featured header around any pixels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_io.film.film import film_of_dicom
from dicom_io.header.file_meta import ObjectUids, Sender, encode_file_meta
from dicom_io.header.part10 import read_preface

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DX = "1.2.840.10008.5.1.4.1.1.1.1"
CR = "1.2.840.10008.5.1.4.1.1.1"


def film(pixels: NDArray[Any] | None = None, *, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Dataset:
    """A chest film of a child; keyword arguments overrule any element, None leaves it out."""
    if pixels is None:
        pixels = ramp()
    values: dict[str, Any] = {
        "SOPClassUID": DX,
        "SOPInstanceUID": "1.2.3.4.5",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "Modality": "DX",
        "PatientName": "Doe^Jane",
        "PatientID": "P1",
        "PatientAge": "003Y",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "AP",
        "SamplesPerPixel": 3 if pixels.ndim == 3 else 1,
        "PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if pixels.ndim == 3:
        values["PlanarConfiguration"] = 0
    big = syntax == "1.2.840.10008.1.2.2"
    values["PixelData"] = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    values |= elements
    values.setdefault("HighBit", (values["BitsStored"] or 1) - 1)
    ds = Dataset()
    with warnings.catch_warnings():
        # a test may well write what no film should hold
        warnings.simplefilter("ignore")
        for keyword, value in values.items():
            if value is not None:
                setattr(ds, keyword, value)
    if "PixelData" in ds:
        ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(DX)
    ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.5")
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    return ds


def save(ds: Dataset, folder: Path, name: str = "film.dcm") -> Path:
    """Write the data set as a DICOM file."""
    path, syntax = folder / name, UID(ds.file_meta.TransferSyntaxUID)
    if not syntax.is_transfer_syntax:  # younger than pydicom
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(path, enforce_file_format=True)
    return path if syntax.is_transfer_syntax else declare(path, syntax)


def declare(path: Path, syntax: str) -> Path:
    """Let a file's meta information name another transfer syntax; the data set stays as it is."""
    with path.open("rb") as fp:
        read_preface(fp)
        data_set = fp.read()
    uids = ObjectUids(DX, "1.2.3.4.5", syntax)
    path.write_bytes(encode_file_meta(uids, Sender("TEST", "", "127.0.0.1"), "TEST") + data_set)
    return path


def ramp(rows: int = 160, columns: int = 256, dtype: Any = np.uint16, top: int = 4095) -> NDArray[Any]:
    """Every value from 0 to ``top`` somewhere, smooth along the rows."""
    line = np.linspace(0, top, rows * columns)
    return line.reshape(rows, columns).round().astype(dtype)


def lut(descriptor: list[int], data: list[int]) -> Sequence:
    """The one item of a Modality or VOI LUT sequence."""
    return Sequence([lut_item(descriptor, data)])


def lut_item(descriptor: list[int], data: list[int] | bytes, vr: str = "US") -> Dataset:
    """An item of a LUT sequence."""
    item = Dataset()
    item.add_new(0x00283002, "SS" if min(descriptor) < 0 else "US", descriptor)
    item.add_new(0x00283006, vr, data)
    return item


def greys(folder: Path, pixels: NDArray[Any] | None = None, **elements: Any) -> NDArray[np.uint8]:
    """The film of such a radiograph."""
    pixels = ramp() if pixels is None else pixels
    elements.setdefault("BitsStored", 12 if pixels.dtype.itemsize == 2 else 8)
    return film_of_dicom(save(film(pixels, **elements), folder)).pixels


def expected(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """A linear window from ``low`` to ``high``."""
    shares: NDArray[Any] = ((values.astype(float) - low) / (high - low)).clip(0, 1)
    return np.asarray(np.rint(shares * 255), dtype=np.uint8)


def close(ours: NDArray[np.uint8], theirs: NDArray[Any]) -> bool:
    """Whether greys differ by one at most."""
    return bool(np.abs(ours.astype(int) - np.asarray(theirs).astype(int)).max() <= 1)
