"""Data sets of radiographs that Auscult itself makes: pictures wrapped as DICOM and the drawn demo films."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from dicom_io.header.file_meta import IMPLEMENTATION_CLASS_UID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def uid_from(seed: bytes) -> str:
    """Derive a UID under 2.25 from a seed; the same seed always gives the same UID.

    Parameters
    ----------
    seed : bytes
        At least 16 bytes of a hash.

    Returns
    -------
    str
        At most 44 characters.
    """
    return f"2.25.{uuid.UUID(bytes=seed[:16], version=5).int}"


def radiograph(pixels: NDArray[np.uint8 | np.uint16], bits_stored: int, uids: tuple[str, str, str]) -> Dataset:
    """Make a DX For Presentation data set with file meta information, ready to be sent or saved.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (rows, columns), uint8 or uint16, MONOCHROME2.
    bits_stored : int
        Bits of each pixel that are used, 1 to 16.
    uids : tuple of str
        Study, series and SOP Instance UID.

    Returns
    -------
    pydicom.dataset.Dataset
        Explicit VR Little Endian; patient, study and acquisition elements are present and empty, for the caller to
        fill.
    """
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = (UID(uid) for uid in uids)
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    for keyword in _EMPTY_KEYWORDS:
        setattr(ds, keyword, "")
    ds.Manufacturer = "Auscult"
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits_stored, bits_stored - 1, 0
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "IDENTITY"
    ds.LossyImageCompression = "00"
    data = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    return ds


_EMPTY_KEYWORDS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
    "SeriesDescription",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "BodyPartExamined",
    "ViewPosition",
    "StudyID",
    "PatientOrientation",
    "ImageLaterality",
)
