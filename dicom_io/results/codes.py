"""The codes of a result: value, scheme and meaning, as PS3.16 and SNOMED CT have them.

233604007 and 399208008 are not in PS3.16. They are SNOMED CT's own concepts: "Pneumonia (disorder)" and "Plain X-ray of
chest (procedure)".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dicom_io.results.result import FindingStatus

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class ResultCode(NamedTuple):
    """Code Value, Coding Scheme Designator and Code Meaning."""

    value: str
    scheme: str
    meaning: str


PNEUMONIA = ResultCode("233604007", "SCT", "Pneumonia")
CHEST_X_RAY = ResultCode("399208008", "SCT", "Plain X-ray of chest")
LUNG = ResultCode("39607008", "SCT", "Lung")
CERTAINTY = ResultCode("111012", "DCM", "Certainty of Finding")
PERCENT = ResultCode("%", "UCUM", "Percent")
PROCESSING_EQUIPMENT = ResultCode("109102", "DCM", "Processing Equipment")
SOURCE_IMAGE = ResultCode("121322", "DCM", "Source image for image processing operation")
VISUAL_EXPLANATION = ResultCode("130401", "DCM", "Visual explanation")
STATUS = {
    FindingStatus.PRESENT: ResultCode("52101004", "SCT", "Present"),
    FindingStatus.ABSENT: ResultCode("272519000", "SCT", "Absent"),
    FindingStatus.INDETERMINATE: ResultCode("82334004", "SCT", "Indeterminate"),
}


def code_item(code: ResultCode) -> Dataset:
    """An item of a code sequence (PS3.3 8.8)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item
