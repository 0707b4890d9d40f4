"""The rejection note that withdraws result objects of our own which a PACS has already (IHE RAD TF-3 4.66, PS3.3 A.35.4).

A predecessor in a later report hides nothing: only a Key Object Selection Document with a rejection title lets an archive
that knows Imaging Object Change Management hide the earlier one. The note names objects of Auscult alone, never a film.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_io.header.key_objects import KEY_OBJECT_SELECTION
from dicom_io.header.rejection import RejectionTitle
from dicom_io.quiet import quiet_libraries
from dicom_io.results.codes import ResultCode, code_item
from dicom_io.results.objects import NOT_FOR_DIAGNOSIS, add_equipment, add_patient_and_study, add_times, sealed
from dicom_io.results.report import REPORT_CLASS_UID
from dicom_io.results.result import series_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from dicom_io.header.rejection import Reference
    from dicom_io.results.result import ResultModel
    from dicom_io.results.source_header import SourceHeader

SERIES_NUMBER = 9903
#: The titles of PS3.16 CID 7010 that reject, with what the note says in words.
_TITLES = {
    RejectionTitle.QUALITY: ("Rejected for Quality Reasons", "it does not count any more"),
    RejectionTitle.PATIENT_SAFETY: ("Rejected for Patient Safety Reasons", "it may not be used"),
    RejectionTitle.WORKLIST_ENTRY: ("Incorrect Modality Worklist Entry", "it was made for a wrong patient or order"),
    RejectionTitle.RETENTION_EXPIRED: ("Data Retention Policy Expired", "its time has expired"),
}
_DESCRIPTION = ResultCode("113012", "DCM", "Key Object Description")
_OBSERVER_TYPE = ResultCode("121005", "DCM", "Observer Type")
_DEVICE = ResultCode("121007", "DCM", "Device")
_DEVICE_UID = ResultCode("121012", "DCM", "Device Observer UID")


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawnResult:
    """Objects of a study's result that a PACS has and that are to be withdrawn.

    Attributes
    ----------
    side : int
        As `StudyResult.side`.
    model : ResultModel
        The model that gave the result.
    withdrawn_at : datetime.datetime
        When it was decided that they do not count, with its time zone. Another moment gives another note.
    objects : tuple of Reference
        SOP Class, SOP Instance, Series Instance and Study Instance UID of each object; at least one, all of one study, and
        each a report or a heat map of Auscult.
    """

    side: int = 0
    model: ResultModel
    withdrawn_at: datetime
    objects: tuple[Reference, ...]

    def __post_init__(self) -> None:
        if len({each.study_uid for each in self.objects}) != 1 or not all(map(_is_made_here, self.objects)):
            msg = "a rejection note of Auscult names reports and heat maps of Auscult, all of one study"
            raise ValueError(msg)


def rejection_note(withdrawn: WithdrawnResult, source: SourceHeader, reason: RejectionTitle) -> Dataset:
    """Make the note that withdraws objects of our own.

    Parameters
    ----------
    withdrawn : WithdrawnResult
        What is withdrawn.
    source : SourceHeader
        Patient and study as the withdrawn objects name them: of the film that decided, or of one of the objects.
    reason : RejectionTitle
        Why: QUALITY, PATIENT_SAFETY, WORKLIST_ENTRY or RETENTION_EXPIRED. IHE lets a viewer show what was rejected for
        quality; the others are hidden.

    Returns
    -------
    pydicom.dataset.Dataset
        A Key Object Selection Document of TID 2010 with file meta information, Explicit VR Little Endian; the same
        arguments always give the same bytes, in whatever order the objects are named.

    Raises
    ------
    ValueError
        If `reason` does not reject.
    """
    if reason not in _TITLES:
        msg = f"{reason.name} is not a title of a rejection"
        raise ValueError(msg)
    quiet_libraries()
    meaning, words = _TITLES[reason]
    objects = sorted(set(withdrawn.objects), key=lambda each: (each.series_uid, each.sop_uid))
    study_uid = objects[0].study_uid
    ds = Dataset()
    ds.SOPClassUID = KEY_OBJECT_SELECTION
    ds.StudyInstanceUID = study_uid
    ds.SeriesInstanceUID = series_uid("rejection note", study_uid, withdrawn.side, withdrawn.model)
    ds.Modality = "KO"
    ds.SeriesNumber, ds.InstanceNumber = SERIES_NUMBER, 1
    ds.SeriesDescription = f"Auscult: withdrawn. {NOT_FOR_DIAGNOSIS}"
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CurrentRequestedProcedureEvidenceSequence = [_evidence(study_uid, objects)]
    ds.ValueType = "CONTAINER"
    ds.ConceptNameCodeSequence = [code_item(ResultCode(reason.value, reason.scheme, meaning))]
    ds.ContinuityOfContent = "SEPARATE"
    ds.ContentTemplateSequence = [_item(MappingResource="DCMR", TemplateIdentifier="2010")]
    ds.ContentSequence = [
        *_observer(withdrawn.model),
        *map(_content, objects),
        _text(f"This result of Auscult was withdrawn: {words}. {NOT_FOR_DIAGNOSIS}"),
    ]
    add_patient_and_study(ds, source)
    add_times(ds, withdrawn.withdrawn_at, source)
    add_equipment(ds, withdrawn.model, withdrawn.withdrawn_at, "Gave the result that is withdrawn.")
    return sealed(ds)


def _is_made_here(each: Reference) -> bool:
    """Whether an object may be one of Auscult, so that no mistake of a caller rejects a film of the hospital."""
    return each.sop_class_uid in (REPORT_CLASS_UID, SecondaryCaptureImageStorage) and all(
        uid.startswith("2.25.") for uid in (each.sop_uid, each.series_uid)
    )


def _evidence(study_uid: str, objects: Sequence[Reference]) -> Dataset:
    by_series = groupby(objects, key=lambda each: each.series_uid)
    return _item(
        StudyInstanceUID=study_uid,
        ReferencedSeriesSequence=[
            _item(SeriesInstanceUID=uid, ReferencedSOPSequence=[_reference(each) for each in some])
            for uid, some in by_series
        ],
    )


def _observer(model: ResultModel) -> Iterable[Dataset]:
    """Who rejects: the model as a device (TID 1002 with TID 1004)."""
    relation = {"RelationshipType": "HAS OBS CONTEXT"}
    yield _item(
        **relation,
        ValueType="CODE",
        ConceptNameCodeSequence=[code_item(_OBSERVER_TYPE)],
        ConceptCodeSequence=[code_item(_DEVICE)],
    )
    yield _item(**relation, ValueType="UIDREF", ConceptNameCodeSequence=[code_item(_DEVICE_UID)], UID=model.device_uid)


def _content(each: Reference) -> Dataset:
    kind = "IMAGE" if each.sop_class_uid == SecondaryCaptureImageStorage else "COMPOSITE"
    return _item(RelationshipType="CONTAINS", ValueType=kind, ReferencedSOPSequence=[_reference(each)])


def _text(text: str) -> Dataset:
    return _item(
        RelationshipType="CONTAINS",
        ValueType="TEXT",
        ConceptNameCodeSequence=[code_item(_DESCRIPTION)],
        TextValue=text,
    )


def _reference(each: Reference) -> Dataset:
    return _item(ReferencedSOPClassUID=each.sop_class_uid, ReferencedSOPInstanceUID=each.sop_uid)


def _item(**elements: object) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds
