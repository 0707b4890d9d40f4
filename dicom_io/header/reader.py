"""Step 3 of the flow: read a header into frozen facts.

The reader never trusts a value. Text in any character set becomes clean Unicode, malformed codes and UIDs become "",
ages in any spelling become months. Only the errors named below are raised, whatever the header holds. The pixels are
never decoded.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_io.clean import clean_text
from dicom_io.errors import NotDicom
from dicom_io.header.ages import age_at, age_in_months, is_placeholder, may_follow_from
from dicom_io.header.digests import Digests, digests_at, film_header_sha256, sha256_of_pixels
from dicom_io.header.elements import Elements
from dicom_io.header.evidence import (
    EVIDENCE_TAGS,
    derivation_of,
    is_own_result,
    is_polarity_in_doubt,
    is_test_object,
    species_of,
)
from dicom_io.header.facts import Facts, Identity
from dicom_io.header.file_meta import certificate_in
from dicom_io.header.part10 import PIXEL_TAGS, UID_TAGS, UNDEFINED_LENGTH, parse, read_preface, uncompressed_syntax_of
from dicom_io.header.terms import PLACE_TAGS, body_part, modality_of, view_position
from dicom_io.quiet import quiet_libraries

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path
    from typing import BinaryIO

    from dicom_io.header.digests import ReceivedDigests

__all__ = ["facts_of", "identify", "pixels_sha256", "read_facts", "read_object"]

_NAME_LIMIT, _ID_LIMIT, _DESCRIPTION_LIMIT = 320, 64, 255
_MAX_DATE_SPREAD_DAYS = 366
#: The defined terms of Requested Procedure Priority (PS3.3 C.4.11), most urgent first; the retired Study Priority ID has some.
_PRIORITIES = ("STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW")
_INTENTS = ("FOR PRESENTATION", "FOR PROCESSING")

_SOP_CLASS, _SOP_UID, _STUDY_UID, _SERIES_UID = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_STUDY_DATE, _SERIES_DATE, _ACQUISITION_DATE, _CONTENT_DATE = 0x00080020, 0x00080021, 0x00080022, 0x00080023
_ACQUISITION_DATETIME = 0x0008002A
_ACCESSION, _MODALITY, _PRESENTATION_INTENT = 0x00080050, 0x00080060, 0x00080068
_STUDY_DESCRIPTION, _SERIES_DESCRIPTION, _PROTOCOL_NAME = 0x00081030, 0x0008103E, 0x00181030
_PATIENT_NAME, _PATIENT_ID, _BIRTH_DATE, _SEX, _AGE = 0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00101010
_ISSUER = 0x00100021
_MANUFACTURER, _INSTITUTION, _STATION, _DEVICE_MODEL = 0x00080070, 0x00080080, 0x00081010, 0x00081090
_BURNED_IN = 0x00280301
_REQUESTED_PRIORITY, _REQUEST_ATTRIBUTES, _STUDY_PRIORITY = 0x00401003, 0x00400275, 0x0032000C
_FRAMES, _ROWS, _COLUMNS = 0x00280008, 0x00280010, 0x00280011
_FACT_TAGS = (
    UID_TAGS
    | EVIDENCE_TAGS
    | PLACE_TAGS
    | frozenset(
        {
            *(_STUDY_DATE, _SERIES_DATE, _ACQUISITION_DATE, _CONTENT_DATE, _ACQUISITION_DATETIME),
            *(_ACCESSION, _MODALITY, _PRESENTATION_INTENT),
            *(_STUDY_DESCRIPTION, _SERIES_DESCRIPTION, _PROTOCOL_NAME),
            *(_PATIENT_NAME, _PATIENT_ID, _ISSUER, _BIRTH_DATE, _SEX, _AGE),
            *(_FRAMES, _ROWS, _COLUMNS, _BURNED_IN),
            *(_REQUESTED_PRIORITY, _REQUEST_ATTRIBUTES, _STUDY_PRIORITY),
            *(_MANUFACTURER, _INSTITUTION, _STATION, _DEVICE_MODEL),
        }
    )
)
# File meta information: Source and Sending AE Title, Source Presentation Address (PS3.10 7.1)
_SOURCE_AET, _SENDING_AET, _SOURCE_ADDRESS = 0x00020016, 0x00020017, 0x00020026


def read_facts(path: Path) -> Facts:
    """Read the facts of a DICOM file or of a bare data set; the pixels are not read.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    Facts
        What the header says.

    Raises
    ------
    NotDicom
        If the file is neither a DICOM file nor a bare data set with at least one UID.
    HeaderUnreadable
        If the elements cannot be parsed before all four UIDs were read. Damage after the UIDs ends the header, so that
        an object which the listener accepted is never lost: it has facts, but no pixels.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as fp:
        return _read(fp)[0]


def read_object(path: Path, received: ReceivedDigests | None = None) -> tuple[Facts, Digests]:
    """Read the facts and the digests of a file, in one pass over it.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    received : ReceivedDigests, optional
        Computed from these bytes when they were received; where they fit, only the header is read.

    Returns
    -------
    tuple of Facts and Digests
        What the header says, and the hashes of the bytes.

    Raises
    ------
    NotDicom, HeaderUnreadable, OSError
        As ``read_facts``.
    """
    with path.open("rb") as fp:
        facts, offset, pixels = _read(fp)
        digests = received.of_file(path.stat().st_size, offset, pixels.at, pixels.length) if received else None
        if digests is None:
            fp.seek(offset)
            digests = digests_at(fp, pixels.at, pixels.length)
        film_header = film_header_sha256(fp, offset, pixels.at, pixels.length)
        return facts, replace(digests, film_header=film_header)


def pixels_sha256(path: Path) -> str:
    """Read the SHA-256 of what `Digests.pixels` covers, by which objects from before schema 0024 are on record.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits; "" where `Digests.pixels` is.

    Raises
    ------
    NotDicom, HeaderUnreadable, OSError
        As ``read_facts``.
    """
    with path.open("rb") as fp:
        _, _, pixels = _read(fp)
        return sha256_of_pixels(fp, pixels.at, pixels.length)


def _read(fp: BinaryIO) -> tuple[Facts, int, _PixelWatch]:
    """Return the facts, the offset of the data set, and where its pixels are."""
    preface = read_preface(fp)
    seen = _PixelWatch(fp)
    syntax = preface.transfer_syntax_uid
    guessed = syntax or uncompressed_syntax_of(fp)
    ds = parse(fp, syntax, stop_when=seen, wanted=_FACT_TAGS, enough=UID_TAGS)
    if not syntax and not seen.encapsulated:
        syntax = guessed
    facts = _facts(Elements(ds), preface.meta, syntax, has_pixel_data=seen.has_pixel_data)
    if not preface.is_part10 and not (facts.sop_class_uid or facts.sop_uid or facts.study_uid):
        raise NotDicom
    if syntax == DeflatedExplicitVRLittleEndian:
        # A position in the inflated data set is not a position in the file.
        seen.at = None
    return facts, preface.offset, seen


def facts_of(ds: Dataset) -> Facts:
    """The facts of a data set in memory.

    Parameters
    ----------
    ds : pydicom.dataset.Dataset
        The data set, with or without ``file_meta``.

    Returns
    -------
    Facts
        What the header says; a bad value raises no error.
    """
    quiet_libraries()
    elements = Elements(ds)
    file_meta = getattr(ds, "file_meta", None) or Dataset()
    meta = {int(tag): Elements(file_meta).plain(int(tag)).encode("latin-1", "replace") for tag in file_meta.keys()}  # noqa: SIM118
    syntax = Elements(file_meta).uid(0x00020010)
    return _facts(elements, meta, syntax, has_pixel_data=any(elements.has(tag) for tag in PIXEL_TAGS))


def identify(data: bytes | memoryview, transfer_syntax_uid: str) -> Identity:
    """Read the UIDs of an encoded data set without file meta information, as it comes in a C-STORE request.

    Parameters
    ----------
    data : bytes or memoryview
        The encoded data set.
    transfer_syntax_uid : str
        The transfer syntax of the presentation context.

    Returns
    -------
    Identity
        The four UIDs, "" for each that is missing or invalid.

    Raises
    ------
    HeaderUnreadable
        If the elements cannot be parsed.
    """
    missing = set(UID_TAGS)

    def stop(tag: int, _vr: str | None, _length: int) -> bool:
        # parse calls this before each value: after the last UID the rest of the header is not needed
        done = not missing or tag in PIXEL_TAGS
        missing.discard(tag)
        return done

    return identity_of(parse(io.BytesIO(data), transfer_syntax_uid, stop_when=stop, wanted=UID_TAGS))


def identity_of(ds: Dataset) -> Identity:
    """Return the UIDs of a parsed data set, "" for each that is missing or invalid."""
    elements = Elements(ds)
    return Identity(
        study_uid=elements.uid(_STUDY_UID),
        series_uid=elements.uid(_SERIES_UID),
        sop_uid=elements.uid(_SOP_UID),
        sop_class_uid=elements.uid(_SOP_CLASS),
    )


class _PixelWatch:
    """Stop condition of the parse: ends it at the pixel data, and keeps whether there are any and where they begin."""

    def __init__(self, fp: BinaryIO) -> None:
        self._fp = fp
        self.has_pixel_data = False
        self.encapsulated = False
        self.at: int | None = None
        self.length = 0

    def __call__(self, tag: int, _vr: str | None, length: int) -> bool:
        if tag in PIXEL_TAGS:
            self.has_pixel_data = self.has_pixel_data or length > 0
            self.encapsulated = length == UNDEFINED_LENGTH
            self.at, self.length = self._fp.tell(), sys.maxsize if self.encapsulated else length
            return True
        return False


def _facts(elements: Elements, meta: dict[int, bytes], syntax: str, *, has_pixel_data: bool) -> Facts:
    study = elements.text(_STUDY_DESCRIPTION, _DESCRIPTION_LIMIT)
    series = elements.text(_SERIES_DESCRIPTION, _DESCRIPTION_LIMIT)
    protocol = elements.text(_PROTOCOL_NAME, _DESCRIPTION_LIMIT)
    return Facts(
        study_uid=elements.uid(_STUDY_UID),
        series_uid=elements.uid(_SERIES_UID),
        sop_uid=elements.uid(_SOP_UID),
        sop_class_uid=elements.uid(_SOP_CLASS),
        transfer_syntax_uid=syntax,
        patient_id=elements.text(_PATIENT_ID, _ID_LIMIT),
        issuer_of_patient_id=elements.text(_ISSUER, _ID_LIMIT),
        patient_name=elements.text(_PATIENT_NAME, _NAME_LIMIT),
        patient_birth_date=_date(elements, _BIRTH_DATE),
        patient_sex=_sex(elements),
        age_months=_age_months(elements),
        accession_number=elements.text(_ACCESSION, _ID_LIMIT),
        study_date=next(iter(_film_dates(elements)), None),
        study_description=study,
        requested_priority=_requested_priority(elements),
        modality=modality_of(elements.code(_MODALITY)),
        body_part=body_part(elements, f"{series} {protocol}", study),
        view_position=view_position(elements, f"{series} {protocol}"),
        presentation_intent=_intent(elements),
        rows=_within(elements.integer(_ROWS), 0xFFFF),
        columns=_within(elements.integer(_COLUMNS), 0xFFFF),
        number_of_frames=max(1, _within(elements.integer(_FRAMES, default=1), 2**31 - 1)),
        has_pixel_data=has_pixel_data,
        species=species_of(elements),
        derivation=derivation_of(elements),
        is_test_object=is_test_object(elements),
        burned_in_annotation=elements.code(_BURNED_IN) == "YES",
        polarity_in_doubt=is_polarity_in_doubt(elements),
        manufacturer=elements.text(_MANUFACTURER, _ID_LIMIT),
        device_model=elements.text(_DEVICE_MODEL, _ID_LIMIT),
        station_name=elements.text(_STATION, _ID_LIMIT),
        institution=elements.text(_INSTITUTION, _ID_LIMIT),
        calling_aet=_meta_text(meta, _SENDING_AET, 16) or _meta_text(meta, _SOURCE_AET, 16),
        peer=_meta_text(meta, _SOURCE_ADDRESS, 64),
        certificate=certificate_in(meta),
        is_own_result=is_own_result(elements),
    )


def _age_months(elements: Elements) -> int | None:
    """Patient's Age, else the time from birth to the film, in completed months; None where the header gives neither.

    Many systems write an age of 0 when they know none, and some write it for every infant. For an age of 0 the birth
    date is used, where it gives an age. A placeholder gives no age as a birth date, and an age that a device computed
    from a placeholder is ignored too. A system that writes a placeholder also writes 0 for an unknown age.

    Dates of one film that are more than a year apart were changed by an anonymiser or a wrong clock. The birth date
    may have been changed with them, so it is not used then.
    """
    stated = elements.plain(_AGE)
    months = age_in_months(stated)
    is_stated = months is not None and any(digit in stated for digit in "123456789")
    birth, dates = elements.date(_BIRTH_DATE), _film_dates(elements)
    if birth is not None and is_placeholder(birth):
        is_copied = months is not None and any(may_follow_from(months, birth, day) for day in dates[:1])
        return months if is_stated and not is_copied else None
    if is_stated or not dates or (max(dates) - min(dates)).days > _MAX_DATE_SPREAD_DAYS:
        return months
    since_birth = age_at(birth, dates[0])
    return months if since_birth is None else since_birth


def _film_dates(elements: Elements) -> list[date]:
    """The study, acquisition, series and content dates that are present, in this order."""
    tags = (_STUDY_DATE, _ACQUISITION_DATE, _ACQUISITION_DATETIME, _SERIES_DATE, _CONTENT_DATE)
    return [day for tag in tags if (day := _date(elements, tag))]


def _date(elements: Elements, tag: int) -> date | None:
    """A date; None if it is missing, impossible or a placeholder."""
    day = elements.date(tag)
    return None if day is None or is_placeholder(day) else day


def _sex(elements: Elements) -> str:
    first = elements.plain(_SEX)[:1].upper()
    return first if first in {"M", "F", "O"} else ""


def _requested_priority(elements: Elements) -> str:
    """The priority of the order; of several orders that of the most urgent one.

    Requested Procedure Priority belongs to the worklist (PS3.3 C.4.11). Modalities and archives copy it into their
    objects, beside or within the request attributes; older ones fill the retired Study Priority ID.
    """
    requests = [item.code(_REQUESTED_PRIORITY) for item in elements.items(_REQUEST_ATTRIBUTES)]
    for stated in ([elements.code(_REQUESTED_PRIORITY)], requests, [elements.code(_STUDY_PRIORITY)]):
        known = [word for word in _PRIORITIES if word in stated]
        if known:
            return known[0]
    return ""


def _intent(elements: Elements) -> str:
    intent = elements.code(_PRESENTATION_INTENT)
    return intent if intent in _INTENTS else ""


def _within(number: int, limit: int) -> int:
    return number if 0 <= number <= limit else 0


def _meta_text(meta: dict[int, bytes], tag: int, limit: int) -> str:
    text = clean_text(meta.get(tag, b"").decode("latin-1"), limit)
    return text if text.isascii() else ""
