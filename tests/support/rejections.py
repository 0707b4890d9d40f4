"""Rejection notes as a PACS makes them: data sets for the reader and the network, and documents for the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dicom_io.header.key_objects import KEY_OBJECT_SELECTION
from dicom_io.header.rejection import Reference, RejectionDocument, RejectionTitle
from worker.addresses import listed_sources
from worker.db.identity.rejections import RejectionPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

FILM_CLASS = "1.2.840.10008.5.1.4.1.1.1.1"
PACS = {"calling_aet": "PACS", "peer": "dicom://10.1.2.3", "source": "PACS"}
#: The PACS of the tests may reject.
LISTED = RejectionPolicy(sources=listed_sources(["PACS@10.0.0.0/8"]))
#: The facts of a note beside those of its study and patient.
NOTE_FACTS = {"sop_class_uid": KEY_OBJECT_SELECTION, "modality": "KO", "has_pixel_data": False}


def rejecting(
    *sop_uids: str, study: str = "1.2.3", title: str = RejectionTitle.PATIENT_SAFETY, **others: Any
) -> RejectionDocument:
    """A note as the reader gives it."""
    series = others.pop("series", f"{study}.9")
    references = tuple(Reference(uid, study, series, others.get("sop_class", FILM_CLASS)) for uid in sop_uids)
    return RejectionDocument(RejectionTitle(title), references)


def note_dataset(
    references: Iterable[tuple[str, str, str]],
    *,
    title: tuple[str, str, str] = ("113037", "DCM", "Rejected for Patient Safety Reasons"),
    sop_class: str = FILM_CLASS,
    content: bool = True,
    **elements: Any,
) -> Dataset:
    """A Key Object Selection Document (PS3.3 A.35.4, TID 2010) that names (study, series, SOP) Instance UIDs.

    `elements` by keyword: patient, study and whatever else is to differ.
    """
    named = list(references)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = KEY_OBJECT_SELECTION
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = named[0][0] if named else generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.Modality = "KO"
    ds.Manufacturer = "Tests"
    ds.SeriesNumber = 1
    ds.InstanceNumber = 1
    ds.PatientID = ds.PatientName = ds.PatientBirthDate = ds.PatientSex = ""
    ds.StudyDate = ds.ContentDate = "20260101"
    ds.StudyTime = ds.ContentTime = "120000"
    ds.AccessionNumber = ds.StudyID = ds.ReferringPhysicianName = ""
    ds.ReferencedPerformedProcedureStepSequence = Sequence()
    ds.CurrentRequestedProcedureEvidenceSequence = Sequence(_evidence(named, sop_class))
    ds.ValueType = "CONTAINER"
    ds.ConceptNameCodeSequence = Sequence([_code(*title)])
    ds.ContinuityOfContent = "SEPARATE"
    ds.ContentTemplateSequence = Sequence([_item(MappingResource="DCMR", TemplateIdentifier="2010")])
    if content:
        ds.ContentSequence = Sequence([_image(uid, sop_class) for _, _, uid in named])
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _evidence(named: list[tuple[str, str, str]], sop_class: str) -> list[Dataset]:
    studies: dict[str, dict[str, list[str]]] = {}
    for study, series, uid in named:
        studies.setdefault(study, {}).setdefault(series, []).append(uid)
    return [
        _item(
            StudyInstanceUID=study,
            ReferencedSeriesSequence=Sequence(
                [
                    _item(
                        SeriesInstanceUID=series,
                        ReferencedSOPSequence=Sequence([_reference(uid, sop_class) for uid in uids]),
                    )
                    for series, uids in by_series.items()
                ]
            ),
        )
        for study, by_series in studies.items()
    ]


def _image(uid: str, sop_class: str) -> Dataset:
    return _item(
        RelationshipType="CONTAINS", ValueType="IMAGE", ReferencedSOPSequence=Sequence([_reference(uid, sop_class)])
    )


def _reference(uid: str, sop_class: str) -> Dataset:
    return _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _item(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds
