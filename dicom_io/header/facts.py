"""What is kept of a header: frozen facts about patient, study and image, clean enough for SQL and the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFacts:
    """The facts that the rules of the gate read; a re-run builds them from stored columns.

    Text is "" where the header says nothing. The defaults of the last fields mean that the header holds nothing
    against the film.

    Attributes
    ----------
    sop_class_uid, transfer_syntax_uid : str
        UIDs; "" when missing or invalid.
    modality : str
        A defined term of Modality; "RG" or "OT" for any other word.
    body_part : str
        The words of BodyPartExamined if all are known; else "CHEST" or "OTHER" by that element, the region code or
        the descriptions.
    view_position : str
        The words of ViewPosition if all are known; else "FRONTAL" or "LATERAL" by that element, the view code, the
        orientation or the descriptions; "FRONTAL LATERAL" where they contradict each other.
    age_months : int or None
        Completed months at the time of the film.
    rows, columns : int
        Size in pixels, 0 when unknown.
    presentation_intent : str
        "FOR PRESENTATION", "FOR PROCESSING" or "".
    number_of_frames : int
        1 when the header gives none.
    has_pixel_data : bool
        Whether there is a pixel data element with a value.
    species : str
        An ``evidence.Species``: "HUMAN", "ANIMAL" or "".
    derivation : str
        An ``evidence.Derivation``: the kind of computed picture; "" where nothing says that it is not the film itself.
    is_test_object : bool
        Whether the header says that the film shows a phantom or a test pattern.
    burned_in_annotation : bool
        Whether Burned In Annotation is YES.
    polarity_in_doubt : bool
        Whether the tags that say what is white contradict each other.
    """

    sop_class_uid: str = ""
    transfer_syntax_uid: str = ""
    modality: str = ""
    body_part: str = ""
    view_position: str = ""
    age_months: int | None = None
    rows: int = 0
    columns: int = 0
    presentation_intent: str = ""
    number_of_frames: int = 1
    has_pixel_data: bool = True
    species: str = ""
    derivation: str = ""
    is_test_object: bool = False
    burned_in_annotation: bool = False
    polarity_in_doubt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(GateFacts):
    """Everything kept of a header.

    All text is Unicode without control characters and fits the columns: names 320, identifiers 64, descriptions 255
    characters. Invalid UIDs and malformed codes are kept as "".

    Attributes
    ----------
    study_uid, series_uid, sop_uid : str
        UIDs; "" when missing or invalid.
    patient_id, issuer_of_patient_id, patient_name, patient_sex, accession_number : str
        As sent; the sex is M, F, O or "". Nothing shows the name yet: it is kept for the reader's page of a study.
    patient_birth_date, study_date : datetime.date or None
        None when missing, impossible or a placeholder such as 1900-01-01.
    study_description : str
        As sent.
    requested_priority : str
        STAT, HIGH, ROUTINE, MEDIUM or LOW, as the order says; "" where the header says none of these.
    manufacturer, device_model, station_name, institution : str
        The device that made the film and where it stands, as sent: Manufacturer, Manufacturer's Model Name, Station
        Name and Institution Name.
    calling_aet, peer : str
        AE title and address of the sender, as the listener wrote them into the file meta information.
    certificate : str
        SHA-256 of the certificate that the sender showed in TLS, from there too; "" without TLS.
    is_own_result : bool
        Whether Auscult made the object of a result, and it came back.
    """

    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: date | None = None
    patient_sex: str = ""
    accession_number: str = ""
    study_date: date | None = None
    study_description: str = ""
    requested_priority: str = ""
    manufacturer: str = ""
    device_model: str = ""
    station_name: str = ""
    institution: str = ""
    calling_aet: str = ""
    peer: str = ""
    certificate: str = ""
    is_own_result: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The UIDs of one object; "" for each that is missing or invalid."""

    study_uid: str = ""
    series_uid: str = ""
    sop_uid: str = ""
    sop_class_uid: str = ""
