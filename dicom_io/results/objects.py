"""What the objects of a result have in common: who made them, for whom, and a UID that follows from their header."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_io.header.file_meta import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_io.own_device import MANUFACTURER, uid_of
from dicom_io.results.codes import PROCESSING_EQUIPMENT, code_item

if TYPE_CHECKING:
    from datetime import datetime

    from dicom_io.results.result import ResultModel
    from dicom_io.results.source_header import SourceHeader

#: Code Value of Acquisition Equipment (PS3.16 CID 7005).
ACQUISITION_EQUIPMENT = "109101"
#: Said in every object, in words that stand on their own.
NOT_FOR_DIAGNOSIS = "Not a medical device. Not for diagnosis."
#: What the model contributed to a report and to a heat map.
GAVE_THE_RESULT = "Gave the result of this study."


def add_equipment(ds: Dataset, model: ResultModel, at: datetime, contribution: str) -> None:
    """Write the General Equipment module, and the model as Contributing Equipment (IHE AIR 6.5.3.1).

    What took the film stays in front of it. Highdicom's item for itself goes: it has the same purpose as that of a model,
    and no Device UID.
    """
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = "Auscult"
    ds.SoftwareVersions = version("auscult")
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(PROCESSING_EQUIPMENT)]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = model.name
    item.SoftwareVersions = model.software_versions
    item.DeviceUID = model.device_uid
    item.ContributionDateTime = stamp(at)
    item.ContributionDescription = f"{contribution} {NOT_FOR_DIAGNOSIS}"
    took = [other for other in ds.get("ContributingEquipmentSequence", []) if _purpose(other) == ACQUISITION_EQUIPMENT]
    ds.ContributingEquipmentSequence = [*took, item]


def _purpose(item: Dataset) -> str:
    return str(item.PurposeOfReferenceCodeSequence[0].CodeValue)


def add_patient_and_study(ds: Dataset, source: SourceHeader) -> None:
    """Repeat who the patient is and which study this is, in the character set of the film."""
    for element in source.patient_and_study:
        ds[element.tag] = element


def local_time(moment: datetime, source: SourceHeader) -> datetime:
    """A moment in the time zone in which the film's header tells its own times, where it says so."""
    offset = source.timezone
    if not offset:
        return moment
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    return moment.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))


def add_times(ds: Dataset, at: datetime, source: SourceHeader) -> None:
    """Write Content Date and Time: when the analysis began, which stays the same however often the object is made."""
    local = local_time(at, source)
    ds.ContentDate = ds.SeriesDate = f"{local:%Y%m%d}"
    ds.ContentTime = ds.SeriesTime = f"{local:%H%M%S}"
    for name in ("InstanceCreationDate", "InstanceCreationTime"):
        if name in ds:
            delattr(ds, name)


def stamp(moment: datetime) -> str:
    """A moment as DT (PS3.5 6.2), with its offset from UTC."""
    return f"{moment:%Y%m%d%H%M%S%z}"


def sealed(ds: Dataset) -> Dataset:
    """Give an object the SOP Instance UID that follows from the rest of its header, and file meta information.

    An equal header has an equal UID, so that to make and to send a result again changes nothing in the PACS; another one,
    even with a corrected name of the patient, has another UID. Pixels do not count: they are drawn from what the header
    names, and a network's evidence may differ by rounding when it is computed again.
    """
    header = Dataset({element.tag: element for element in ds if element.keyword not in ("SOPInstanceUID", "PixelData")})
    ds.SOPInstanceUID = UID(uid_of("object", hashlib.sha256(_encoded(header)).hexdigest()))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.FileMetaInformationVersion = b"\0\1"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return ds


def _encoded(ds: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, ds)
    return stream.getvalue()


def file_bytes(ds: Dataset) -> memoryview:
    """A sealed object as the bytes of a DICOM file (PS3.10)."""
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getbuffer()
