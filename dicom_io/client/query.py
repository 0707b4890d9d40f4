"""C-FIND to a PACS (PS3.4 annex C, Study Root): which studies it has, and which objects are in one.

Answers are checked: a PACS may ignore a key and answer with everything it has, or stop in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pynetdicom import build_context

from dicom_io.client.association import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, AssociationLost
from dicom_io.errors import DicomIoError
from dicom_io.header.elements import Elements

if TYPE_CHECKING:
    from datetime import date

    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
#: Answers of one query that are read before it is cancelled; a larger question must be asked in parts.
MAX_ANSWERS = 20_000
_SUCCESS, _PENDING, _CANCEL = 0x0000, (0xFF00, 0xFF01), 0xFE00
_NOT_SUPPORTED = 0x0122
#: PS3.4 Table C.4-1: statuses after which smaller questions may be answered.
_TOO_MUCH = frozenset({0xA700, _CANCEL})
_LATIN_LIMIT = 64
_STUDY_DATE, _STUDY_TIME, _ACCESSION, _MODALITY = 0x00080020, 0x00080030, 0x00080050, 0x00080060
_MODALITIES, _SOP_CLASSES, _PATIENT_ID = 0x00080061, 0x00080062, 0x00100020
_ISSUER = 0x00100021
_STUDY_UID, _SERIES_UID, _N_INSTANCES = 0x0020000D, 0x0020000E, 0x00201208
_SOP_CLASS_UID, _SOP_UID = 0x00080016, 0x00080018


class QueryFailed(DicomIoError):
    """The PACS does not answer a query.

    Parameters
    ----------
    status : int
        The failure status.
    """

    def __init__(self, status: int) -> None:
        words = f"status 0x{status:04X}"
        if status == _NOT_SUPPORTED:
            words = "it takes no queries by Study Root C-FIND from us"
        super().__init__(f"The PACS did not answer the query: {words}.")
        self.status = status


@dataclass(frozen=True, slots=True)
class StudyKeys:
    """The keys of a query; every key that is set must match."""

    study_uid: str = ""
    accession_number: str = ""
    patient_id: str = ""
    #: A date or range as in PS3.4 C.2.2.2.5: "20240101" or "20240101-20240131".
    study_date: str = ""
    #: A range of times within the date: "100000-105959".
    study_time: str = ""
    #: A modality in the study.
    modality: str = ""


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study that the PACS has."""

    study_uid: str
    accession_number: str
    study_date: date | None
    #: Empty if the PACS did not say.
    modalities: tuple[str, ...]
    #: None if the PACS did not say.
    n_images: int | None
    #: Empty if the PACS did not say.
    sop_classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An object of a study."""

    sop_uid: str
    #: "" if the PACS did not say.
    sop_class_uid: str


@dataclass(frozen=True, slots=True)
class Answers:
    """The result of a query."""

    studies: tuple[FoundStudy, ...]
    #: Whether the PACS stopped before the end, so that there are more.
    is_cut_off: bool


def find_context() -> PresentationContext:
    """Return the context for queries."""
    return build_context(STUDY_ROOT_FIND, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])


def find_studies(opened: Association, keys: StudyKeys) -> Answers:
    """Ask which studies match.

    Parameters
    ----------
    opened : Association
        With `find_context` accepted.
    keys : StudyKeys
        The keys of the query.

    Returns
    -------
    Answers
        The studies that match by our own check, without duplicates.

    Raises
    ------
    QueryFailed
        If the PACS answers with a failure.
    AssociationLost
        If it does not answer to the end.
    """
    ds = Dataset()
    # Only where it is needed: some PACS do not understand a query with a character set.
    if not f"{keys.accession_number}{keys.patient_id}".isascii():
        ds.SpecificCharacterSet = "ISO_IR 192"
    ds.QueryRetrieveLevel = "STUDY"
    ds.StudyDate, ds.StudyTime = keys.study_date, keys.study_time
    ds.AccessionNumber, ds.PatientID, ds.StudyInstanceUID = keys.accession_number, keys.patient_id, keys.study_uid
    ds.ModalitiesInStudy = keys.modality
    ds.SOPClassesInStudy = ds.NumberOfStudyRelatedInstances = None
    answers, is_cut_off = _ask(opened, ds)
    found = {study.study_uid: study for answer in answers if (study := _study(answer, keys))}
    return Answers(tuple(found.values()), is_cut_off)


def find_images(opened: Association, study_uid: str) -> tuple[FoundImage, ...]:
    """Ask for the objects of a study, series by series.

    Parameters
    ----------
    opened : Association
        With `find_context` accepted.
    study_uid : str
        The study.

    Returns
    -------
    tuple of FoundImage
        Each once.

    Raises
    ------
    QueryFailed
        If the PACS answers with a failure, or only with a part of the answers.
    AssociationLost
        If it does not answer to the end.
    """
    images: dict[str, FoundImage] = {}
    for series in _below(opened, "SERIES", study_uid):
        series_uid = series.uid(_SERIES_UID)
        for answer in _below(opened, "IMAGE", study_uid, series_uid) if series_uid else ():
            if sop_uid := answer.uid(_SOP_UID):
                images[sop_uid] = FoundImage(sop_uid, answer.uid(_SOP_CLASS_UID))
    return tuple(images.values())


def find_patient(opened: Association, study_uid: str) -> tuple[str, str] | None:
    """Ask which patient a study belongs to.

    Parameters
    ----------
    opened : Association
        With `find_context` accepted.
    study_uid : str
        The study.

    Returns
    -------
    tuple of str, or None
        Patient ID and its issuer, each "" if the PACS does not return it; None if it has no such study, or returns two
        patients.

    Raises
    ------
    QueryFailed, AssociationLost
        As `find_images`.
    """
    ds = Dataset()
    ds.QueryRetrieveLevel, ds.StudyInstanceUID = "STUDY", study_uid
    ds.PatientID = ds.IssuerOfPatientID = ""
    answers, is_cut_off = _ask(opened, ds)
    if is_cut_off:
        raise QueryFailed(_CANCEL)
    told = {
        (answer.text(_PATIENT_ID, _LATIN_LIMIT), answer.text(_ISSUER, _LATIN_LIMIT))
        for answer in answers
        if answer.uid(_STUDY_UID) == study_uid
    }
    return told.pop() if len(told) == 1 else None


def find_modalities(opened: Association, study_uid: str) -> tuple[str, ...]:
    """Ask for the modalities of a study's series, where `FoundStudy.modalities` does not say.

    Parameters
    ----------
    opened : Association
        With `find_context` accepted.
    study_uid : str
        The study.

    Returns
    -------
    tuple of str
        Sorted, without duplicates.

    Raises
    ------
    QueryFailed, AssociationLost
        As `find_images`.
    """
    return tuple(sorted({series.code(_MODALITY) for series in _below(opened, "SERIES", study_uid)} - {""}))


def _below(opened: Association, level: str, study_uid: str, series_uid: str = "") -> list[Elements]:
    ds = Dataset()
    ds.QueryRetrieveLevel, ds.StudyInstanceUID, ds.SeriesInstanceUID = level, study_uid, series_uid
    if level == "IMAGE":
        ds.SOPInstanceUID = ds.SOPClassUID = ""
    else:
        ds.Modality = ""
    answers, is_cut_off = _ask(opened, ds)
    if is_cut_off:
        raise QueryFailed(_CANCEL)
    # A PACS that ignores the upper keys would mix other studies in.
    return [answer for answer in answers if answer.uid(_STUDY_UID) in ("", study_uid)]


def _ask(opened: Association, ds: Dataset) -> tuple[list[Elements], bool]:
    """Return the answers, and whether the PACS stopped before the end."""
    found: list[Elements] = []
    is_cancelled = False
    try:
        for status, identifier in opened.send_c_find(ds, STUDY_ROOT_FIND):
            code = status.get("Status")
            if code not in _PENDING:
                return found, _is_cut_off(code)
            if identifier is not None:
                found.append(Elements(identifier))
            if len(found) >= MAX_ANSWERS and not is_cancelled:
                opened.send_c_cancel(1, query_model=STUDY_ROOT_FIND)
                is_cancelled = True
    except RuntimeError as exc:
        # pynetdicom raises this where the association has ended, or where no context was accepted.
        raise (AssociationLost if opened.accepted_contexts else QueryFailed(_NOT_SUPPORTED)) from exc
    except ValueError as exc:
        raise QueryFailed(_NOT_SUPPORTED) from exc
    raise AssociationLost


def _is_cut_off(code: int | None) -> bool:
    """Whether a final status says that there are more answers; raises QueryFailed for a failure."""
    if code == _SUCCESS:
        return False
    # 0xB000 to 0xBFFF are warnings: the answers so far count.
    if code in _TOO_MUCH or (code is not None and 0xB000 <= code <= 0xBFFF):
        return True
    raise AssociationLost if code is None else QueryFailed(code)


def _study(answer: Elements, keys: StudyKeys) -> FoundStudy | None:
    study_uid, accession = answer.uid(_STUDY_UID), answer.text(_ACCESSION, _LATIN_LIMIT)
    modalities = _listed(answer, _MODALITIES)
    asked_and_given = (
        (keys.study_uid, study_uid),
        (keys.accession_number, accession),
        (keys.patient_id, answer.text(_PATIENT_ID, _LATIN_LIMIT)),
    )
    if not study_uid or any(asked and asked != given for asked, given in asked_and_given):
        return None
    if keys.modality and modalities and keys.modality not in modalities:
        return None
    study_date = answer.date(_STUDY_DATE)
    if study_date and not _is_within(study_date, keys.study_date):
        return None
    return FoundStudy(
        study_uid,
        accession,
        study_date,
        modalities,
        answer.integer(_N_INSTANCES) if answer.has(_N_INSTANCES) else None,
        _listed(answer, _SOP_CLASSES),
    )


def _is_within(day: date, asked: str) -> bool:
    """Whether a day is the requested date, or within the requested range, whose ends may be open (PS3.4 C.2.2.2.5)."""
    first, dash, last = asked.partition("-")
    return first <= day.isoformat().replace("-", "") <= ((last if dash else first) or "99991231")


def _listed(answer: Elements, tag: int) -> tuple[str, ...]:
    return tuple(part for value in answer.plain(tag).split("\\") if (part := value.strip(" \0")))
