"""The heat map of a study as Secondary Capture: a picture for people, with everything that it says burned in.

A single-frame Secondary Capture in colour is what every archive stores and every viewer shows. It carries no meaning for
machines; the report does (IHE RAD AIR 6.5 allows it beside the report and not in its place).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_io.quiet import quiet_libraries
from dicom_io.results.codes import LUNG, SOURCE_IMAGE, code_item
from dicom_io.results.objects import (
    GAVE_THE_RESULT,
    NOT_FOR_DIAGNOSIS,
    add_equipment,
    add_patient_and_study,
    add_times,
    sealed,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dicom_io.results.result import StudyResult
    from dicom_io.results.source_header import SourceHeader

SERIES_NUMBER = 9902


def make_capture(picture: NDArray[np.uint8], result: StudyResult, source: SourceHeader, derivation: str) -> Dataset:
    """Wrap a picture as a Secondary Capture.

    Parameters
    ----------
    picture : ndarray of uint8, shape (rows, columns, 3)
        sRGB, with model, score, legend and notice in it.
    result : StudyResult
        What is said; the picture is of the film that decides.
    source : SourceHeader
        The header of that film.
    derivation : str
        How the picture was computed, ASCII, at most 1,024 characters.

    Returns
    -------
    pydicom.dataset.Dataset
        With file meta information, Explicit VR Little Endian; the same arguments always give the same bytes, and the
        SOP Instance UID does not depend on the pixels.
    """
    quiet_libraries()
    ds = Dataset()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.StudyInstanceUID, ds.SeriesInstanceUID = result.study_uid, result.series_uid("heat map")
    ds.Modality = "OT"
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER", "HEAT MAP"]
    before = result.predecessor
    # Another number, and so another UID, than an earlier heat map of the same answer, which a note may have rejected since.
    ds.SeriesNumber, ds.InstanceNumber = SERIES_NUMBER, before.instance_number + 1 if before else 1
    ds.SeriesDescription = f"Auscult AI heat map. {NOT_FOR_DIAGNOSIS}"
    ds.PatientOrientation = ""
    ds.BodyPartExamined = "CHEST"
    ds.AnatomicRegionSequence = [code_item(LUNG)]
    ds.BurnedInAnnotation = "YES"
    ds.RecognizableVisualFeatures = "NO"
    ds.LossyImageCompression = "01" if source.is_lossy else "00"
    ds.DerivationDescription = derivation
    ds.SourceImageSequence = [_source_image(result)]
    add_patient_and_study(ds, source)
    add_times(ds, result.analysed_at, source)
    add_equipment(ds, result.model, result.analysed_at, GAVE_THE_RESULT)
    _add_pixels(ds, picture)
    return sealed(ds)


def _source_image(result: StudyResult) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = result.deciding.sop_class_uid
    item.ReferencedSOPInstanceUID = result.deciding.sop_uid
    item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    return item


def _add_pixels(ds: Dataset, picture: NDArray[np.uint8]) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = picture.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    data = picture.tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB"
